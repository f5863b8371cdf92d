"""What providers say is left, and whether it is enough."""

from __future__ import annotations

import pytest

from keyrail.contracts.health import RateWindow, RateWindows
from keyrail.contracts.slips import Facts
from keyrail.dialects import rate_windows
from keyrail.routing import windows
from keyrail.routing.windows import Need

AT = 1_795_435_200_000  # 2026-11-23 12:00 UTC
SMALL = Need.of(Facts(model="m", input_tokens_estimate=100, max_output_tokens=50))


def window(remaining: int, limit: int | None = 100, kind: str = "requests", in_s: float = 10) -> RateWindow:
    return RateWindow(
        kind=kind,  # pyright: ignore[reportArgumentType]
        limit=limit,
        remaining=remaining,
        reset_ms=AT + round(in_s * 1000),
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {
                "x-ratelimit-limit-requests": "10000",
                "x-ratelimit-remaining-requests": "9999",
                "x-ratelimit-reset-requests": "12ms",
            },
            [("requests", 10_000, 9_999, 12)],
        ),
        (
            {
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            [("tokens", 150_000, 149_984, 360_000)],
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-limit": "50000",
                "anthropic-ratelimit-input-tokens-remaining": "3000",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-23T12:00:30Z",
            },
            [("input-tokens", 50_000, 3_000, 30_000)],
        ),
        (
            {
                "x-ratelimit-limit-requests-day": "1000",
                "x-ratelimit-remaining-requests-day": "7",
                "x-ratelimit-reset-requests-day": "33011.5",
            },
            [("requests", 1_000, 7, 33_011_500)],
        ),
        (
            {"x-ratelimit-limit-req-minute": "60", "x-ratelimit-remaining-req-minute": "3"},
            [("requests", 60, 3, 60_000)],
        ),
        (
            {
                "x-ratelimit-limit": "20",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": str(AT + 7_000),
            },
            [("requests", 20, 0, 7_000)],
        ),
        ({"x-ratelimit-limit-requests": "480", "x-ratelimit-remaining-requests": "3"}, []),
        ({"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "1s"}, []),
        (
            {
                "x-ratelimit-limit-tokens": "0",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1s",
            },
            [],
        ),
        ({"x-ratelimit-remaining-requests": "soon", "x-ratelimit-reset-requests": "1s"}, []),
        ({"content-type": "application/json"}, []),
    ],
    ids=[
        "openai",
        "tokens",
        "anthropic",
        "day",
        "mistral",
        "openrouter",
        "no-reset",
        "minus",
        "azure",
        "word",
        "none",
    ],
)
def test_each_providers_headers_are_read(
    headers: dict[str, str], expected: list[tuple[str, int, int, int]]
) -> None:
    fields = {name.encode(): value.encode() for name, value in headers.items()}
    said = rate_windows.said(fields, AT)
    assert [(w.kind, w.limit, w.remaining, w.reset_ms - AT) for w in said] == expected


def test_windows_with_enough_left_are_passed_over() -> None:
    fields = {
        b"x-ratelimit-limit-requests": b"100",
        b"x-ratelimit-remaining-requests": b"21",
        b"x-ratelimit-reset-requests": b"1s",
    }
    assert rate_windows.said(fields, AT, windows.LOW) == ()
    assert len(rate_windows.said(fields | {b"x-ratelimit-remaining-requests": b"20"}, AT, windows.LOW)) == 1


@pytest.mark.parametrize(
    ("known", "until_s"),
    [
        (window(10), None),
        (window(9), 10),
        (window(9, in_s=7_200), None),
        (window(0, in_s=7_200), 7_200),
        (window(0, in_s=-1), None),
        (window(150, None, "tokens"), None),
        (window(149, None, "tokens"), 10),
        (window(99, None, "input-tokens"), 10),
        (window(49, None, "output-tokens"), 10),
        (window(50, None, "output-tokens"), None),
    ],
    ids=[
        "tenth",
        "less",
        "long",
        "long-empty",
        "over",
        "fits",
        "too-large",
        "input",
        "output",
        "output-fits",
    ],
)
def test_a_request_that_does_not_fit_or_the_last_tenth_of_a_short_window_closes_the_way(
    known: RateWindow, until_s: float | None
) -> None:
    expected = None if until_s is None else AT + round(until_s * 1000)
    assert windows.limited_until_ms([window(100), known], SMALL, AT) == expected


def test_of_several_windows_the_last_to_begin_anew_counts() -> None:
    both = [window(0, in_s=3), window(0, kind="tokens", in_s=9), window(0, in_s=5)]
    assert windows.limited_until_ms(both, SMALL, AT) == AT + 9_000


def test_a_request_that_was_sent_is_taken_off_at_once() -> None:
    left = windows.taken((window(5), window(200, kind="tokens"), window(60, kind="input-tokens")), SMALL)
    assert [each.remaining for each in left] == [4, 50, 0]


def test_others_are_told_of_little_and_of_a_long_window_only_at_its_very_end() -> None:
    assert windows.low([window(20)], AT)
    assert not windows.low([window(21)], AT)
    assert not windows.low([window(15, in_s=7_200)], AT)
    assert windows.low([window(1, in_s=7_200)], AT)
    assert windows.low([window(0, None)], AT)
    assert not windows.low([window(1, None)], AT)


def told(*known: RateWindow, at_ms: int = AT) -> RateWindows:
    return RateWindows(tenant="t", provider="p", key_id=None, model="m", at_ms=at_ms, windows=known)


def test_a_later_shorter_wait_does_not_shorten_what_a_provider_asked_for() -> None:
    long, short = window(0, None, in_s=30), window(0, None, in_s=1)
    assert windows.later(told(long), told(short), AT).windows == (long,)
    assert windows.later(told(short), told(long), AT).windows == (long,)
    plenty = window(90)
    assert windows.later(told(long), told(plenty), AT).windows == (long, plenty)
    assert windows.later(told(long), told(plenty), AT + 30_000).windows == (plenty,)
