"""When the windows of rate limits begin anew, by what providers' headers say of each. Pure.

A provider names its windows in pairs of headers, `...-remaining-<window>` and `...-reset-<window>` (OpenAI,
Groq, Cerebras) or `...-<window>-remaining` and `...-<window>-reset` (Anthropic), or has one reset for all
(OpenRouter). A reset is a number of seconds, a span such as `6m0s`, or an instant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from keyrail.contracts.budgets import period_bounds
from keyrail.contracts.health import RateWindow

_MONTH = re.compile(r"\bper[ -]month\b", re.IGNORECASE)
_REMAINING = re.compile(r"(?:x|anthropic)-ratelimit-(?:remaining-(.+)|(.+)-remaining)")
_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_LONGEST_S = 31 * 86_400.0
_EPOCH_S = 1_000_000_000.0  # what is larger is an instant; in milliseconds when it is a thousand times that

_Kind = Literal["requests", "tokens", "input-tokens", "output-tokens"]


class _Names(NamedTuple):
    """What goes with a header that says how much remains. `length_s`: of the window, where its name tells."""

    kind: _Kind
    limit: bytes
    reset: bytes
    length_s: float | None = None


_KINDS: dict[str, _Kind] = {
    "requests": "requests",
    "req": "requests",
    "tokens": "tokens",
    "input-tokens": "input-tokens",
    "output-tokens": "output-tokens",
}
_LENGTHS_S = {
    "": None,
    "-10-second": 10.0,
    "-minute": 60.0,
    "-hour": 3_600.0,
    "-day": 86_400.0,
    "-month": None,
}


def _known() -> dict[bytes, _Names]:
    found: dict[bytes, _Names] = {
        b"x-ratelimit-remaining": _Names("requests", b"x-ratelimit-limit", b"x-ratelimit-reset")
    }
    for word, kind in _KINDS.items():
        for suffix, length_s in _LENGTHS_S.items():
            name = f"{word}{suffix}".encode()
            found[b"x-ratelimit-remaining-" + name] = _Names(
                kind, b"x-ratelimit-limit-" + name, b"x-ratelimit-reset-" + name, length_s
            )
        name = word.encode()
        found[b"anthropic-ratelimit-%b-remaining" % name] = _Names(
            kind, b"anthropic-ratelimit-%b-limit" % name, b"anthropic-ratelimit-%b-reset" % name
        )
    return found


_NAMES = _known()
_LOOKED_FOR = frozenset(_NAMES)


def said(fields: Mapping[bytes, bytes], at_ms: int, share: float = 1.0) -> tuple[RateWindow, ...]:
    """The windows of which an answer, whatever its status, says how much remains; names are lower case.

    Those with more than `share` of their limit left are passed over, and so are those of which nobody says
    when they begin anew: a window whose name tells its length does so at its end at the latest.
    """
    if _LOOKED_FOR.isdisjoint(fields):  # as with most: nothing else is looked at
        return ()
    found: list[RateWindow] = []
    for field in _LOOKED_FOR.intersection(fields):
        names = _NAMES[field]
        remaining, limit = _count(fields[field]), _count(fields.get(names.limit))
        if remaining is None or limit == 0 or (limit is not None and remaining > share * limit):
            continue  # Azure says 0 of 0 where it does not know
        reset = fields.get(names.reset)
        wait = names.length_s if reset is None else _reset(reset.decode("latin-1"), at_ms)
        if wait is not None:
            reset_ms = at_ms + round(wait * 1000)
            found.append(RateWindow(kind=names.kind, limit=limit, remaining=remaining, reset_ms=reset_ms))
    return tuple(found)


def _count(value: bytes | None) -> int | None:
    """A number of requests or tokens. Some say -1 for what they do not know."""
    if value is None:
        return None
    try:
        number = int(value)
    except ValueError:
        return _whole(value)
    return number if number >= 0 else None


def _whole(value: bytes) -> int | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if 0 <= number < _EPOCH_S * 1000 else None


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
