"""The rules for each parameter of a chat request, as a table from its name to a check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from keyrail.contracts.failures import Failure

_MAX_MODEL = 256
_MAX_MESSAGES = 100_000
_MAX_TOKENS = 2**31 - 1
_MAX_STOPS = 64
_MAX_TOOLS = 1_024
_MAX_BIASES = 10_000
_MAX_USER = 65_536
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_TALKERS = ("user", "assistant", "system", "developer", "tool")
_CONTENT_NEEDED = frozenset({"system", "developer", "user"})
_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}

Check = Callable[[str, Any], Failure | None]


def problem_of(body: dict[str, Any]) -> Failure | None:
    """The first thing that is wrong, None when nothing is. Unknown parameters and nulls are fine."""
    for name in ("model", "messages"):
        if body.get(name) is None:
            return _missing(name)
    for name, value in body.items():
        rule = _RULES.get(name)
        if rule is not None and value is not None and (problem := rule(name, value)) is not None:
            return problem
    return None


def _wrong(param: str, message: str, code: str) -> Failure:
    return Failure(kind="bad_request", message=message, status=400, code=code, param=param)


def _missing(param: str) -> Failure:
    return _wrong(param, f"Missing required parameter: '{param}'.", "missing_required_parameter")


def _type(param: str, value: object, expected: str) -> Failure:
    got = _NAMES.get(type(value), "something else")
    message = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    return _wrong(param, message, "invalid_type")


def _range(param: str, rule: str) -> Failure:
    return _wrong(param, f"Invalid value for '{param}': {rule}.", "invalid_value")


def _model(param: str, value: Any) -> Failure | None:
    if type(value) is not str:
        return _type(param, value, "a string")
    if not value or len(value) > _MAX_MODEL:
        return _range(param, f"expected 1 to {_MAX_MODEL} characters")
    if not value.isprintable():
        return _range(param, "control characters are not allowed")
    return None


def _integer(low: int, high: int) -> Check:
    def rule(param: str, value: Any) -> Failure | None:
        # Some clients write 100 as 100.0, and some providers take it.
        if type(value) is not int and not (type(value) is float and value.is_integer()):
            return _type(param, value, "an integer")
        return None if low <= value <= high else _range(param, f"expected an integer from {low} to {high}")

    return rule


def _number(low: float, high: float) -> Check:
    def rule(param: str, value: Any) -> Failure | None:
        if type(value) is not float and type(value) is not int:
            return _type(param, value, "a decimal number")
        return None if low <= value <= high else _range(param, f"expected a number from {low:g} to {high:g}")

    return rule


def _boolean(param: str, value: Any) -> Failure | None:
    return None if type(value) is bool else _type(param, value, "a boolean")


def _string(param: str, value: Any, longest: int = _MAX_USER) -> Failure | None:
    if type(value) is not str:
        return _type(param, value, "a string")
    return None if len(value) <= longest else _range(param, f"expected at most {longest} characters")


def _object(param: str, value: Any) -> Failure | None:
    return None if type(value) is dict else _type(param, value, "an object")


def _objects(param: str, value: Any, most: int = _MAX_TOOLS) -> Failure | None:
    if type(value) is not list:
        return _type(param, value, "an array of objects")
    items = cast("list[Any]", value)
    if len(items) > most:
        return _range(param, f"expected at most {most} items")
    for index, item in enumerate(items):
        if type(item) is not dict:
            return _type(f"{param}[{index}]", item, "an object")
    return None


def _stop(param: str, value: Any) -> Failure | None:
    if type(value) is str:
        return None
    if type(value) is not list:
        return _type(param, value, "a string or an array of strings")
    items = cast("list[Any]", value)
    if len(items) > _MAX_STOPS:
        return _range(param, f"expected at most {_MAX_STOPS} items")
    for index, item in enumerate(items):
        if type(item) is not str:
            return _type(f"{param}[{index}]", item, "a string")
    return None


def _choice(param: str, value: Any) -> Failure | None:
    return None if type(value) in (str, dict) else _type(param, value, "a string or an object")


def _biases(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return _type(param, value, "an object")
    count = len(cast("dict[str, Any]", value))
    return None if count <= _MAX_BIASES else _range(param, f"expected at most {_MAX_BIASES} entries")


def _options(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return _type(param, value, "an object")
    usage = cast("dict[str, Any]", value).get("include_usage")
    return None if usage is None else _boolean(f"{param}.include_usage", usage)


def _format(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return _type(param, value, "an object")
    kind = cast("dict[str, Any]", value).get("type")
    return None if kind is None else _string(f"{param}.type", kind)


def _messages(param: str, value: Any) -> Failure | None:
    if type(value) is not list:
        return _type(param, value, "an array of objects")
    messages = cast("list[Any]", value)
    if not messages or len(messages) > _MAX_MESSAGES:
        return _range(param, f"expected 1 to {_MAX_MESSAGES} messages")
    for index, message in enumerate(messages):
        # The usual message needs no call.
        if (
            type(message) is dict
            and type(message.get("content")) is str
            and "tool_calls" not in message
            and message.get("role") in _TALKERS
        ):
            continue
        if (problem := _message(f"messages[{index}]", message)) is not None:
            return problem
    return None


def _message(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return _type(param, value, "an object")
    message = cast("dict[str, Any]", value)
    role = message.get("role")
    if role is None:
        return _missing(f"{param}.role")
    if type(role) is not str:
        return _type(f"{param}.role", role, "a string")
    if role not in _ROLES:
        return _range(f"{param}.role", f"expected one of {', '.join(sorted(_ROLES))}")
    content = message.get("content")
    if type(content) is not str and (problem := _content(f"{param}.content", role, content)) is not None:
        return problem
    calls = message.get("tool_calls")
    return None if calls is None else _objects(f"{param}.tool_calls", calls, _MAX_MESSAGES)


def _content(param: str, role: str, content: Any) -> Failure | None:
    if content is None:
        if role in _CONTENT_NEEDED:
            return _type(param, content, "a string or an array of content parts")
        return None
    if type(content) is not list:
        return _type(param, content, "a string or an array of content parts")
    for place, item in enumerate(cast("list[Any]", content)):
        if type(item) is not dict:
            return _type(f"{param}[{place}]", item, "an object")
        kind = cast("dict[str, Any]", item).get("type")
        if type(kind) is not str:
            return _type(f"{param}[{place}].type", kind, "a string")
    return None


_tokens = _integer(1, _MAX_TOKENS)
_penalty = _number(-2, 2)

_RULES: dict[str, Check] = {
    "model": _model,
    "messages": _messages,
    "stream": _boolean,
    "stream_options": _options,
    "max_tokens": _tokens,
    "max_completion_tokens": _tokens,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "presence_penalty": _penalty,
    "frequency_penalty": _penalty,
    "n": _integer(1, 128),
    "stop": _stop,
    "tools": _objects,
    "functions": _objects,
    "tool_choice": _choice,
    "function_call": _choice,
    "parallel_tool_calls": _boolean,
    "response_format": _format,
    "logit_bias": _biases,
    "logprobs": _boolean,
    "top_logprobs": _integer(0, 1_000),
    "seed": _integer(-(2**63), 2**63 - 1),
    "user": _string,
    "service_tier": _string,
    "metadata": _object,
}
