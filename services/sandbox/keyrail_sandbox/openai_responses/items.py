"""Input items: what they say, and whether they fit together."""

from __future__ import annotations

from typing import Any

from keyrail_sandbox import media, seals
from keyrail_sandbox.ask import Refusal

OWNER = "openai"
_Item = dict[str, Any]

_ROLES = ("user", "assistant", "system", "developer")
_GIVEN_PARTS = ("input_text", "input_image", "input_file", "input_audio")
_SAID_PARTS = ("output_text", "refusal")
_CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
_OUTPUTS = tuple(_CALLS.values())
_HOSTED = """web_search_call file_search_call computer_call computer_call_output code_interpreter_call
    image_generation_call local_shell_call local_shell_call_output shell_call shell_call_output
    apply_patch_call apply_patch_call_output mcp_list_tools mcp_approval_request mcp_approval_response
    mcp_call compaction"""
_TYPES = frozenset({"message", "reasoning", "item_reference", *_CALLS, *_OUTPUTS, *_HOSTED.split()})
_FINGERPRINT = slice(3, 27)


def kind_of(item: _Item) -> str:
    """The item's type; a bare role and content are a message."""
    return str(item.get("type", "message" if "role" in item else ""))


def text_of(item: _Item) -> str:
    """The text of a message, or of a tool's output; "" for other items."""
    match kind_of(item):
        case "message":
            said: Any = item.get("content")
        case kind if kind in _OUTPUTS:
            said = item.get("output")
        case _:
            return ""
    return said if isinstance(said, str) else "".join(str(part.get("text", "")) for part in _parts(said))


def question(items: list[_Item]) -> str:
    """The last text of the user's."""
    said = (text_of(i) for i in reversed(items) if kind_of(i) == "message" and i.get("role") == "user")
    return next((text for text in said if text), "")


def results(items: list[_Item]) -> tuple[str, ...] | None:
    """The outputs at the end, None when the last item is another."""
    found: list[str] = []
    for item in reversed(items):
        if kind_of(item) not in _OUTPUTS:
            break
        found.append(text_of(item))
    return tuple(reversed(found)) or None


def media_of(items: list[_Item]) -> tuple[str, ...]:
    """The types of images, files and sounds, in order."""
    found: list[str] = []
    for item in items:
        said = item.get("content") if kind_of(item) == "message" else item.get("output")
        for part in _parts(said):
            match part.get("type"):
                case "input_image":
                    found.append(media.of_url(part.get("image_url")))
                case "input_file":
                    found.append(media.of_url(part.get("file_data")))
                case "input_audio":
                    found.append(f"audio/{part.get('input_audio', {}).get('format')}")
                case _:
                    pass
    return tuple(found)


def _parts(said: Any) -> list[_Item]:
    return [part for part in said if isinstance(part, dict)] if isinstance(said, list) else []


def problem(items: list[_Item], *, reasons: bool) -> Refusal | None:
    """The first thing OpenAI would refuse. `reasons`: the model gives reasoning items."""
    for at, item in enumerate(items):
        if (refusal := _own_problem(f"input[{at}]", item)) is not None:
            return refusal
    return _unpaired_calls(items) or _lost_reasoning(items, reasons=reasons)


def _own_problem(where: str, item: _Item) -> Refusal | None:
    kind = kind_of(item)
    if kind not in _TYPES:
        return _bad(f"{where}.type" if kind else where, f"Invalid value: '{kind}' is no type of input item.")
    if kind == "item_reference":
        return _not_found(item)
    if kind == "reasoning":
        return _seal_problem(item)
    if kind == "message":
        return _message_problem(where, item)
    return None


def _message_problem(where: str, item: _Item) -> Refusal | None:
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        return _bad(f"{where}.role", f"Invalid value: '{role}' is no role.")
    if not isinstance(content, str | list):
        return _bad(f"{where}.content", "Missing required parameter: content, a string or a list.")
    known = _SAID_PARTS if role == "assistant" else _GIVEN_PARTS
    for at, part in enumerate(_parts(content)):
        if part.get("type") not in known:
            return _bad(
                f"{where}.content[{at}]",
                f"Invalid value: '{part.get('type')}'. Supported values are: {', '.join(known)}.",
            )
    return None


def _seal_problem(item: _Item) -> Refusal | None:
    encrypted, own = item.get("encrypted_content"), item.get("id")
    if encrypted is None:
        return _not_found(item)
    covered = seals.covered_by(OWNER, encrypted)
    if covered is None or (own is not None and covered != seals.digest(str(own))):
        message = f"The encrypted content for item {own} could not be verified."
        return Refusal(400, code="invalid_encrypted_content", message=message)
    return None


def _unpaired_calls(items: list[_Item]) -> Refusal | None:
    open_calls: dict[str, str] = {}
    for item in items:
        kind, call = kind_of(item), str(item.get("call_id"))
        if kind in _CALLS:
            open_calls[call] = _CALLS[kind]
        elif kind in _OUTPUTS and open_calls.pop(call, None) != kind:
            return _bad("input", f"No tool call found for {kind} with call_id {call}.")
    if open_calls:
        return _bad("input", f"No tool output found for function call {next(iter(open_calls))}.")
    return None


def _lost_reasoning(items: list[_Item], *, reasons: bool) -> Refusal | None:
    known: set[str] = set()
    for at, item in enumerate(items):
        kind, own = kind_of(item), str(item.get("id", ""))
        if kind == "reasoning":
            known.add(own[_FINGERPRINT])
            after = items[at + 1] if at + 1 < len(items) else {"role": "user"}
            if after.get("role", "assistant") != "assistant":
                return _bad("input", f"Item '{own}' of type 'reasoning' lacks its required following item.")
        elif reasons and kind == "function_call" and own and own[_FINGERPRINT] not in known:
            lost = f"rs_{own[_FINGERPRINT]}"
            message = f"Item '{own}' of type 'function_call' lacks its required 'reasoning' item: '{lost}'."
            return _bad("input", message)
    return None


def _not_found(item: _Item) -> Refusal:
    message = f"Item with id '{item.get('id')}' not found. Nothing is stored here."
    return Refusal(404, code="not_found", message=message, param="input")


def _bad(param: str, message: str) -> Refusal:
    return Refusal(400, message=message, param=param)
