"""Whether what is left of a provider's rate limits is enough for a request. Pure: no clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from keyrail.contracts.health import RateWindow, RateWindows
from keyrail.contracts.slips import Facts

LOW: Final = 0.2
"""Up to this share of a short window's limit, workers tell each other and the routers."""
LOW_OF_LONG: Final = 0.01
"""The same for a window of hours or days, whose last fifth may last for hours."""
STEER: Final = 0.1
"""Below this share of a limit, others are preferred."""
SHORT_MS: Final = 120_000
"""The share counts for windows that begin anew within this time: a tenth of a day's limit is a lot."""
GUESSED_OUTPUT: Final = 1_024
"""Tokens of an answer whose request names no limit."""


class Need:
    """What a request takes of each kind of window, at most."""

    __slots__ = ("input", "output")

    def __init__(self, input: int, output: int) -> None:
        self.input = input
        self.output = output

    @classmethod
    def of(cls, facts: Facts) -> Need:
        """Of a request as ingress saw it."""
        limit = facts.max_output_tokens or facts.output_cap or GUESSED_OUTPUT
        return cls(facts.input_tokens_estimate, limit * facts.choices)

    def in_window(self, window: RateWindow) -> int:
        """Of this window."""
        kind = window.kind
        if kind == "requests":
            return 1
        if kind == "tokens":
            return self.input + self.output
        return self.input if kind == "input-tokens" else self.output


def low(windows: Iterable[RateWindow], now_ms: int) -> bool:
    """Whether so little is left of one that others should know. Without a limit: whether nothing is."""
    return any(
        window.remaining
        <= (LOW if window.reset_ms - now_ms <= SHORT_MS else LOW_OF_LONG) * (window.limit or 0)
        for window in windows
    )


def limited_until_ms(windows: Iterable[RateWindow], need: Need, now_ms: int) -> int | None:
    """When a request of this size may be sent; None: now.

    A window without room for it, or with less than a tenth left of a short one's limit, closes the way until
    it begins anew.
    """
    until: int | None = None
    for window in windows:
        left_ms = window.reset_ms - now_ms
        if left_ms <= 0:
            continue
        scarce = window.limit is not None and window.remaining < STEER * window.limit and left_ms <= SHORT_MS
        if (scarce or window.remaining < need.in_window(window)) and (
            until is None or window.reset_ms > until
        ):
            until = window.reset_ms
    return until


def taken(windows: Iterable[RateWindow], need: Need) -> tuple[RateWindow, ...]:
    """The windows after a request was sent that the provider has not answered yet."""
    return tuple(
        window.replace(remaining=max(window.remaining - need.in_window(window), 0)) for window in windows
    )


def later(before: RateWindows, told: RateWindows, now_ms: int) -> RateWindows:
    """A provider's new word, with what it asked for before where that lasts longer: a wait is not shortened
    by an answer that was on its way meanwhile."""
    waits = [window for window in before.windows if window.limit is None and window.reset_ms > now_ms]
    ends = {window.kind: window.reset_ms for window in told.windows if window.limit is None}
    kept = [
        window for window in waits if window.remaining == 0 and window.reset_ms > ends.get(window.kind, 0)
    ]
    if not kept:
        return told
    kinds = {window.kind for window in kept}
    rest = [window for window in told.windows if window.limit is not None or window.kind not in kinds]
    return told.replace(windows=(*kept, *rest))
