"""The rules for each parameter of a Responses request, as a table from its name to a check."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects.checking import (
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
from keyrail.dialects.openai_responses import stateless

_MAX_ITEMS = 100_000
_MAX_INCLUDES = 64
_MAX_TEXT = 64 << 20  # the body's own limit is below that
_ROLES = frozenset({"system", "developer", "user", "assistant"})


def problem_of(body: dict[str, Any]) -> Failure | None:
    """The first thing that is wrong, None when nothing is. Unknown parameters and nulls are fine."""
    if body.get("model") is None:
        return missing("model")
    if (problem := stateless.problem_of(body)) is not None:
        return problem
    return first_problem(body, _RULES, needed=("input",))


def _text(param: str, value: Any) -> Failure | None:
    return string(param, value, _MAX_TEXT)


def _choice(param: str, value: Any) -> Failure | None:
    return None if type(value) in (str, dict) else wrong_type(param, value, "a string or an object")


def _include(param: str, value: Any) -> Failure | None:
    return strings(param, value, _MAX_INCLUDES)


def _form(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return wrong_type(param, value, "an object")
    form = cast("dict[str, Any]", value).get("format")
    if form is None:
        return None
    if type(form) is not dict:
        return wrong_type(f"{param}.format", form, "an object")
    kind = cast("dict[str, Any]", form).get("type")
    return None if kind is None else string(f"{param}.format.type", kind)


def _input(param: str, value: Any) -> Failure | None:
    if type(value) is str:
        return None
    if type(value) is not list:
        return wrong_type(param, value, "a string or an array of items")
    items = cast("list[Any]", value)
    if not items or len(items) > _MAX_ITEMS:
        return out_of_range(param, f"expected 1 to {_MAX_ITEMS} items")
    for index, item in enumerate(items):
        if (problem := _item(f"{param}[{index}]", item)) is not None:
            return problem
    return None


def _item(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return wrong_type(param, value, "an object")
    item = cast("dict[str, Any]", value)
    kind = item.get("type")
    if kind is not None and type(kind) is not str:
        return wrong_type(f"{param}.type", kind, "a string")
    if stateless.is_reference(item):
        return stateless.reference(param)
    if kind is None or kind == "message":
        return _message(param, item)
    if kind in ("function_call", "custom_tool_call"):
        return _texts(param, item, "call_id", "name", "arguments" if kind == "function_call" else "input")
    if kind in ("function_call_output", "custom_tool_call_output"):
        return _texts(param, item, "call_id") or _content(f"{param}.output", item.get("output"))
    return None


def _texts(param: str, item: dict[str, Any], *names: str) -> Failure | None:
    for name in names:
        value = item.get(name)
        if type(value) is not str:
            place = f"{param}.{name}"
            return missing(place) if value is None else wrong_type(place, value, "a string")
    return None


def _message(param: str, item: dict[str, Any]) -> Failure | None:
    role = item.get("role")
    if role is None:
        return missing(f"{param}.role")
    if type(role) is not str:
        return wrong_type(f"{param}.role", role, "a string")
    if role not in _ROLES:
        return out_of_range(f"{param}.role", f"expected one of {', '.join(sorted(_ROLES))}")
    return _content(f"{param}.content", item.get("content"))


def _content(param: str, content: Any) -> Failure | None:
    if type(content) is str:
        return None
    if type(content) is not list:
        return wrong_type(param, content, "a string or an array of content parts")
    return parts(param, cast("list[Any]", content))


_RULES: dict[str, Check] = {
    "model": model,
    "input": _input,
    "instructions": _text,
    "stream": boolean,
    "stream_options": an_object,
    "store": boolean,
    "background": boolean,
    "max_output_tokens": integer(0, MAX_TOKENS),
    "max_tool_calls": integer(0, MAX_TOKENS),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_logprobs": integer(0, 1_000),
    "tools": objects,
    "tool_choice": _choice,
    "parallel_tool_calls": boolean,
    "reasoning": an_object,
    "text": _form,
    "include": _include,
    "metadata": an_object,
    "truncation": string,
    "service_tier": string,
    "prompt_cache_key": string,
    "prompt_cache_options": an_object,
    "safety_identifier": string,
    "user": string,
}
