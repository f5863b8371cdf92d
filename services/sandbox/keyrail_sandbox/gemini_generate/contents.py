"""Contents and their parts: what they say, and whether they fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from keyrail_sandbox import seals
from keyrail_sandbox.ask import Refusal

OWNER = "gemini"
FILLERS = ("skip_thought_signature_validator", "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=")
"""What stands for a seal that nobody has: as it is, and as SDKs send these bytes."""

"""Stands for a signature in a history that came from elsewhere."""

_Dict = dict[str, Any]
_STANDARD = str.maketrans("-_", "+/")  # Google takes base64 in both alphabets, its own client sends the other
_DATA = {
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
}
_SNAKE = {
    "inline_data": "inlineData",
    "file_data": "fileData",
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "thought_signature": "thoughtSignature",
    "mime_type": "mimeType",
    "file_uri": "fileUri",
    "executable_code": "executableCode",
    "code_execution_result": "codeExecutionResult",
}


def field(of: _Dict, name: str) -> Any:
    """A field in either spelling that Google's JSON allows: camelCase or snake_case."""
    if name in of:
        return of[name]
    return of.get("".join("_" + c.lower() if c.isupper() else c for c in name))


def parts_of(content: Any) -> list[_Dict]:
    """The parts, their keys in camelCase; those that are no objects left out."""
    said = content.get("parts") if isinstance(content, dict) else None
    parts = cast("list[Any]", said if isinstance(said, list) else [said])
    return [
        {_SNAKE.get(key, key): value for key, value in cast("_Dict", part).items()}
        for part in parts
        if isinstance(part, dict)
    ]


def role_of(content: _Dict) -> str:
    """`user` when it does not say; the old role of function responses is the user's too."""
    role = str(content.get("role") or "user")
    return "user" if role == "function" else role


def text_of(content: Any) -> str:
    """The text of a turn, thoughts left out, that of functions' responses included."""
    said: list[str] = []
    for part in parts_of(content):
        if isinstance(part.get("text"), str) and not part.get("thought"):
            said.append(part["text"])
        elif "functionResponse" in part:
            said.append(_response_text(part["functionResponse"]))
    return "".join(said)


def _response_text(response: Any) -> str:
    """The texts in the response object, however they are called."""
    inner = response.get("response") if isinstance(response, dict) else None
    values = cast("_Dict", inner).values() if isinstance(inner, dict) else ()
    return " ".join(value for value in values if isinstance(value, str))


def question(contents: list[_Dict]) -> str:
    """The last text of the user's own."""
    for content in reversed(contents):
        if role_of(content) == "user":
            own = "".join(p["text"] for p in parts_of(content) if isinstance(p.get("text"), str))
            if own:
                return own
    return ""


def results(contents: list[_Dict]) -> tuple[str, ...] | None:
    """The responses in the last content, None when there are none."""
    parts = parts_of(contents[-1])
    return tuple(_response_text(p["functionResponse"]) for p in parts if "functionResponse" in p) or None


def media_of(contents: list[_Dict]) -> tuple[str, ...]:
    """The types of inline data and files, in order."""
    found: list[str] = []
    for content in contents:
        for part in parts_of(content):
            data = part.get("inlineData") or part.get("fileData")
            if isinstance(data, dict):
                found.append(str(field(cast("_Dict", data), "mimeType") or "url"))
    return tuple(found)


def problem(contents: list[_Dict], *, reasons: bool) -> Refusal | None:
    """The first thing Google would refuse. `reasons`: calls of the current turn need signatures."""
    for at, content in enumerate(contents):
        if (said := _own_problem(content)) is not None:
            return _bad(f"contents[{at}]{said}")
    if role_of(contents[0]) != "user":
        return _bad("Please ensure that the first content is the user's.")
    return _unpaired(contents) or (_unsigned(contents) if reasons else None)


def _own_problem(content: _Dict) -> str | None:
    if role_of(content) not in ("user", "model"):
        return ": Please use a valid role: user, model."
    parts = parts_of(content)
    if not parts:
        return ".parts: contents.parts must not be empty."
    for at, part in enumerate(parts):
        if len(part.keys() & _DATA) != 1:
            return f".parts[{at}].data: required oneof field 'data' must have one initialized field"
        if (said := _part_problem(part)) is not None:
            return f".parts[{at}]{said}"
    return None


def _part_problem(part: _Dict) -> str | None:
    call = part.get("functionCall")
    for name, inner in (("functionCall", "args"), ("functionResponse", "response")):
        if (given := part.get(name)) is not None:
            if not isinstance(given, dict) or not isinstance(cast("_Dict", given).get("name"), str):
                return f".{name}.name: must be given."
            if not isinstance(cast("_Dict", given).get(inner, {}), dict):
                return f".{name}.{inner}: must be an object."
    signature = part.get("thoughtSignature")
    if signature is None or signature in FILLERS:
        return None
    covered = seals.covered_by(OWNER, str(signature).translate(_STANDARD))
    expected = seals.digest("") if call is None else seals.call_digest(call["name"], call.get("args", {}))
    return None if covered == expected else ": Thought signature is not valid."


def _names(content: _Dict, kind: str) -> list[str]:
    return [str(part[kind]["name"]) for part in parts_of(content) if kind in part]


def _unpaired(contents: list[_Dict]) -> Refusal | None:
    called: list[str] = []
    for content in contents:
        answered = _names(content, "functionResponse") if role_of(content) == "user" else []
        if len(answered) != len(called):
            return _bad(
                "Please ensure that the number of function response parts is equal to the number of function"
                " call parts of the function call turn."
            )
        if Counter(answered) != Counter(called):
            return _bad("Please ensure that function response names are those of the function calls.")
        called = _names(content, "functionCall") if role_of(content) == "model" else []
    if called:
        return _bad("Please ensure that a function call turn is followed by its function responses.")
    return None


def _unsigned(contents: list[_Dict]) -> Refusal | None:
    for content in _current(contents):
        first = next((part for part in parts_of(content) if "functionCall" in part), None)
        if first is not None and not first.get("thoughtSignature"):
            name = first["functionCall"]["name"]
            return _bad(f"Function call is missing a thought_signature in functionCall parts: `{name}`.")
    return None


def _current(contents: list[_Dict]) -> Iterator[_Dict]:
    """The model's contents since the user last said something that is no function's response."""
    for content in reversed(contents):
        if role_of(content) == "model":
            yield content
        elif not _names(content, "functionResponse"):
            return


def _bad(message: str) -> Refusal:
    return Refusal(400, message=message)
