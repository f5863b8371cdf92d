"""The rules for each parameter of a Messages request, as a table from its name to a check."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects.checking import (
    MAX_MESSAGES,
    MAX_TOKENS,
    Check,
    an_object,
    boolean,
    first_problem,
    integer,
    missing,
    model,
    number,
    objects,
    out_of_range,
    parts,
    string,
    strings,
    wrong_type,
)

_MAX_STOPS = 8_192
_ROLES = frozenset({"user", "assistant", "system"})


def problem_of(body: dict[str, Any], *, counting: bool = False) -> Failure | None:
    """The first thing that is wrong, None when nothing is. Unknown parameters and nulls are fine.

    `counting`: it is a request to count tokens, which needs no `max_tokens`.
    """
    needed = ("model", "messages") if counting else ("model", "max_tokens", "messages")
    return first_problem(body, _RULES, needed=needed)


def _system(param: str, value: Any) -> Failure | None:
    return None if type(value) is str else _blocks(param, value)


def _blocks(param: str, value: Any) -> Failure | None:
    if type(value) is not list:
        return wrong_type(param, value, "a string or an array of content blocks")
    blocks = cast("list[Any]", value)
    if (problem := parts(param, blocks)) is not None:
        return problem
    for place, block in enumerate(blocks):
        rule = _BLOCKS.get(block["type"])
        if rule is not None and (problem := rule(f"{param}[{place}]", block)) is not None:
            return problem
    return None


def _texts(*names: str) -> Check:
    def rule(param: str, block: Any) -> Failure | None:
        for name in names:
            value = block.get(name)
            if value is None:
                return missing(f"{param}.{name}")
            if type(value) is not str:
                return wrong_type(f"{param}.{name}", value, "a string")
        return None

    return rule


def _source(param: str, block: Any) -> Failure | None:
    source = block.get("source")
    if type(source) is not dict:
        return wrong_type(f"{param}.source", source, "an object")
    kind = cast("dict[str, Any]", source).get("type")
    return None if type(kind) is str else wrong_type(f"{param}.source.type", kind, "a string")


_call_texts = _texts("id", "name")
_result_texts = _texts("tool_use_id")


def _call(param: str, block: Any) -> Failure | None:
    if (problem := _call_texts(param, block)) is not None:
        return problem
    arguments = block.get("input")
    return None if arguments is None else an_object(f"{param}.input", arguments)


def _result(param: str, block: Any) -> Failure | None:
    if (problem := _result_texts(param, block)) is not None:
        return problem
    content = block.get("content")
    if content is not None and (problem := _system(f"{param}.content", content)) is not None:
        return problem
    failed = block.get("is_error")
    return None if failed is None else boolean(f"{param}.is_error", failed)


_BLOCKS: dict[str, Check] = {
    "text": _texts("text"),
    "image": _source,
    "document": _source,
    "thinking": _texts("thinking"),
    "redacted_thinking": _texts("data"),
    "tool_use": _call,
    "tool_result": _result,
}


def _messages(param: str, value: Any) -> Failure | None:
    if type(value) is not list:
        return wrong_type(param, value, "an array of objects")
    messages = cast("list[Any]", value)
    if not messages or len(messages) > MAX_MESSAGES:
        return out_of_range(param, f"expected 1 to {MAX_MESSAGES} messages")
    for index, message in enumerate(messages):
        if (problem := _message(f"{param}[{index}]", message)) is not None:
            return problem
    return None


def _message(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return wrong_type(param, value, "an object")
    message = cast("dict[str, Any]", value)
    role = message.get("role")
    if role is None:
        return missing(f"{param}.role")
    if type(role) is not str:
        return wrong_type(f"{param}.role", role, "a string")
    if role not in _ROLES:
        return out_of_range(f"{param}.role", f"expected one of {', '.join(sorted(_ROLES))}")
    return _system(f"{param}.content", message.get("content"))


def _typed(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return wrong_type(param, value, "an object")
    kind = cast("dict[str, Any]", value).get("type")
    return string(f"{param}.type", kind)


def _stops(param: str, value: Any) -> Failure | None:
    return strings(param, value, _MAX_STOPS)


def _config(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return wrong_type(param, value, "an object")
    form = cast("dict[str, Any]", value).get("format")
    return None if form is None else _typed(f"{param}.format", form)


_RULES: dict[str, Check] = {
    "model": model,
    "messages": _messages,
    "max_tokens": integer(0, MAX_TOKENS),
    "system": _system,
    "stream": boolean,
    "temperature": number(0, 1),
    "top_p": number(0, 1),
    "top_k": integer(0, MAX_TOKENS),
    "stop_sequences": _stops,
    "tools": objects,
    "tool_choice": _typed,
    "thinking": _typed,
    "output_config": _config,
    "output_format": _typed,
    "metadata": an_object,
    "service_tier": string,
    "cache_control": an_object,
}
