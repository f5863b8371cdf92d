"""When the windows of rate limits begin anew, by what providers' headers say of each. Pure.

A provider names its windows in pairs of headers, `...-remaining-<window>` and `...-reset-<window>` (OpenAI,
Groq, Cerebras) or `...-<window>-remaining` and `...-<window>-reset` (Anthropic), or has one reset for all
(OpenRouter). A reset is a number of seconds, a span such as `6m0s`, or an instant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from keyrail.contracts.budgets import period_bounds

_MONTH = re.compile(r"\bper[ -]month\b", re.IGNORECASE)
_REMAINING = re.compile(r"(?:x|anthropic)-ratelimit-(?:remaining-(.+)|(.+)-remaining)")
_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_LONGEST_S = 31 * 86_400.0
_EPOCH_S = 1_000_000_000.0  # what is larger is an instant; in milliseconds when it is a thousand times that


def wait_s(asked_s: float | None, headers: Mapping[str, str], at_ms: int) -> float | None:
    """Seconds to wait after a 429, of which `asked_s` is the provider's own word. Header names are lower
    case.

    Without such a word: until all windows of which nothing remains have begun anew. One of a day or a month
    counts even where a shorter wait was asked for.
    """
    short, long = _resets(headers, at_ms)
    if asked_s is None:
        return max((each for each in (short, long) if each is not None), default=None)
    return asked_s if long is None else max(asked_s, long)


def quota_wait_s(headers: Mapping[str, str], text: str, at_ms: int) -> float:
    """Seconds until a quota of a day or a month begins anew where the provider does not say: by UTC."""
    monthly = _MONTH.search(text) is not None or any(name.endswith("-month") for name in _spent(headers))
    return (period_bounds("month" if monthly else "day", at_ms)[1] - at_ms) / 1000


def _spent(headers: Mapping[str, str]) -> list[str]:
    """The windows of which nothing remains."""
    found: list[str] = []
    for name, value in headers.items():
        match = _REMAINING.fullmatch(name)
        if match is not None and value.strip() in ("0", "0.0"):
            found.append(match[1] or match[2])
    return found


def _resets(headers: Mapping[str, str], at_ms: int) -> tuple[float | None, float | None]:
    """The latest reset of the short windows and of the long ones."""
    waits: tuple[list[float], list[float]] = ([], [])
    for window in _spent(headers):
        value = headers.get(f"x-ratelimit-reset-{window}") or headers.get(
            f"anthropic-ratelimit-{window}-reset"
        )
        wait = _reset(value, at_ms)
        if wait is not None:
            waits[window.endswith(("-day", "-month"))].append(wait)
    general = _reset(headers.get("x-ratelimit-reset"), at_ms)
    if general is not None:
        waits[0].append(general)
    return max(waits[0], default=None), max(waits[1], default=None)


def _reset(value: str | None, at_ms: int) -> float | None:
    """Seconds until a reset that is given as a number of seconds, a span (`6m0s`), or an instant."""
    if value is None:
        return None
    value = value.strip()
    try:
        number = float(value)
    except ValueError:
        return _span(value, at_ms)
    if number < _EPOCH_S:
        return _bounded(number)
    instant = number / 1000 if number >= _EPOCH_S * 1000 else number
    return _bounded(max(instant - at_ms / 1000, 0.0))


def _span(value: str, at_ms: int) -> float | None:
    match = _SPAN.fullmatch(value)
    if match is not None and any(match.groups()):
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
        return _bounded(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return _bounded(max(moment.timestamp() - at_ms / 1000, 0.0))


def _bounded(seconds: float) -> float | None:
    return seconds if 0 <= seconds <= _LONGEST_S else None
