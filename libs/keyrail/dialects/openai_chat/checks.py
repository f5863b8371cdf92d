"""The rules for each parameter of a chat request, as a table from its name to a check."""

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

_MAX_STOPS = 64
_MAX_BIASES = 10_000
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_TALKERS = ("user", "assistant", "system", "developer", "tool")
_CONTENT_NEEDED = frozenset({"system", "developer", "user"})


def problem_of(body: dict[str, Any]) -> Failure | None:
    """The first thing that is wrong, None when nothing is. Unknown parameters and nulls are fine."""
    return first_problem(body, _RULES, needed=("model", "messages"))


def _stop(param: str, value: Any) -> Failure | None:
    if type(value) is str:
        return None
    if type(value) is not list:
        return wrong_type(param, value, "a string or an array of strings")
    return strings(param, value, _MAX_STOPS)


def _choice(param: str, value: Any) -> Failure | None:
    return None if type(value) in (str, dict) else wrong_type(param, value, "a string or an object")


def _biases(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return wrong_type(param, value, "an object")
    count = len(cast("dict[str, Any]", value))
    return None if count <= _MAX_BIASES else out_of_range(param, f"expected at most {_MAX_BIASES} entries")


def _options(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return wrong_type(param, value, "an object")
    usage = cast("dict[str, Any]", value).get("include_usage")
    return None if usage is None else boolean(f"{param}.include_usage", usage)


def _format(param: str, value: Any) -> Failure | None:
    if type(value) is not dict:
        return wrong_type(param, value, "an object")
    kind = cast("dict[str, Any]", value).get("type")
    return None if kind is None else string(f"{param}.type", kind)


def _messages(param: str, value: Any) -> Failure | None:
    if type(value) is not list:
        return wrong_type(param, value, "an array of objects")
    messages = cast("list[Any]", value)
    if not messages or len(messages) > MAX_MESSAGES:
        return out_of_range(param, f"expected 1 to {MAX_MESSAGES} messages")
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
        return wrong_type(param, value, "an object")
    message = cast("dict[str, Any]", value)
    role = message.get("role")
    if role is None:
        return missing(f"{param}.role")
    if type(role) is not str:
        return wrong_type(f"{param}.role", role, "a string")
    if role not in _ROLES:
        return out_of_range(f"{param}.role", f"expected one of {', '.join(sorted(_ROLES))}")
    content = message.get("content")
    if type(content) is not str and (problem := _content(f"{param}.content", role, content)) is not None:
        return problem
    calls = message.get("tool_calls")
    return None if calls is None else objects(f"{param}.tool_calls", calls, MAX_MESSAGES)


def _content(param: str, role: str, content: Any) -> Failure | None:
    if content is None:
        if role in _CONTENT_NEEDED:
            return wrong_type(param, content, "a string or an array of content parts")
        return None
    if type(content) is not list:
        return wrong_type(param, content, "a string or an array of content parts")
    return parts(param, cast("list[Any]", content))


_tokens = integer(0, MAX_TOKENS)  # whether 0 means anything is for the provider to say
_penalty = number(-2, 2)

_RULES: dict[str, Check] = {
    "model": model,
    "messages": _messages,
    "stream": boolean,
    "stream_options": _options,
    "max_tokens": _tokens,
    "max_completion_tokens": _tokens,
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "presence_penalty": _penalty,
    "frequency_penalty": _penalty,
    "n": integer(1, 128),
    "stop": _stop,
    "tools": objects,
    "functions": objects,
    "tool_choice": _choice,
    "function_call": _choice,
    "parallel_tool_calls": boolean,
    "response_format": _format,
    "logit_bias": _biases,
    "logprobs": boolean,
    "top_logprobs": integer(0, 1_000),
    "seed": integer(-(2**63), 2**63 - 1),
    "user": string,
    "service_tier": string,
    "metadata": an_object,
}
