"""A provider's quirks, applied to a body in its dialect: what goes missing is named, what can't be missed is
refused."""

from __future__ import annotations

from typing import Any, Final

from keyrail.contracts.failures import Failure
from keyrail.contracts.quirks import Quirks
from keyrail.dialects.canonical.request import Written, refused

MISSED: Final = frozenset(
    {
        "audio",
        "function_call",
        "functions",
        "input",
        "logit_bias",
        "logprobs",
        "messages",
        "modalities",
        "n",
        "response_format",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "web_search_options",
    }
)
"""Fields without which a request asks for something else. The others tune, tag or hint."""


def apply(request: dict[str, Any], quirks: Quirks) -> Written | Failure:
    """The same request with the provider's names, without what it does not take. Order is kept.

    A null stands for a missing field, and so does the value that a field has anyway: these are no loss.
    """
    body = _renamed(request, quirks.rename) if quirks.rename else request
    dropped: list[str] = []
    for name in quirks.drop:
        if name in body:
            dropped.append(name)
    if quirks.allow is not None:
        allowed = quirks.allow
        dropped += [name for name in body if name not in allowed and name not in dropped]
    named: list[str] = []
    for name in dropped:
        value = body.pop(name)
        if _means_nothing(name, value):
            continue
        if name in MISSED:
            return refused(name, f"The provider does not take the parameter '{name}'.")
        named.append(name)
    return Written(body, tuple(named))


def _means_nothing(name: str, value: object) -> bool:
    if value is None or value in ([], {}):
        return True
    return (name == "n" and value == 1) or (name == "logprobs" and value is False)


def _renamed(request: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for name, value in request.items():
        target = names.get(name, name)
        if target == name or target not in request:
            renamed[target] = value
    return renamed
