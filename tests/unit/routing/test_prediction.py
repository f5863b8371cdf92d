from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.measures import TargetMeasures
from keyrail.routing.prediction import FRESH_MS, KEPT, Ended, Latencies, Prediction, quantile, size_of

NOW = 1_795_435_200_000


def ended(first_ms: int = 100, *, at_ms: int = NOW, **about: Any) -> Ended:
    known: dict[str, Any] = {"ok": True, "stream": True, "input_tokens": 100, "output_tokens": 11}
    return Ended(at_ms=at_ms, first_content_ms=first_ms, duration_ms=first_ms + 1_000, **known | about)


def first_token(known: Latencies, input_tokens: int = 100, now_ms: int = NOW) -> Prediction | None:
    return known.predict(stream=True, input_tokens=input_tokens, output_tokens=100, now_ms=now_ms)


def test_what_was_measured_is_expected() -> None:
    known = Latencies()
    for n in range(1, 11):
        known.fold(ended(n * 100))
    found = first_token(known)
    assert found is not None
    assert found.measured
    assert (found.quantile(0), found.quantile(0.5), found.quantile(1)) == (0.1, 0.55, 1.0)
    assert found.tokens_per_s == pytest.approx(10)
    whole = known.predict(stream=False, input_tokens=100, output_tokens=450, now_ms=NOW)
    assert whole is not None
    assert whole.seconds[0] == pytest.approx(1.1 / 61 * 500), "longer answers take longer"
    assert not whole.first_token


def test_little_is_not_enough_to_compare_with_and_the_old_is_forgotten() -> None:
    known = Latencies()
    assert first_token(known) is None
    for _ in range(4):
        known.fold(ended())
    assert (found := first_token(known)) is not None
    assert not found.measured
    assert first_token(known, now_ms=NOW + FRESH_MS - 1) is not None
    assert first_token(known, now_ms=NOW + FRESH_MS) is None


def test_prompts_of_the_same_size_count_first() -> None:
    known = Latencies()
    for _ in range(5):
        known.fold(ended(100, input_tokens=100))
        known.fold(ended(5_000, input_tokens=50_000))
    assert [each.quantile(0.5) for size in (10, 50_000) if (each := first_token(known, size))] == [0.1, 5.0]
    near = first_token(known, 20_000)
    assert near is not None
    assert near.quantile(0.5) == 5.0, "the next size, where there is none"
    assert [size_of(tokens) for tokens in (0, 500, 501, 1_000_000)] == [0, 0, 1, 5]


def test_failures_lower_the_success_and_say_nothing_of_the_pace() -> None:
    known = Latencies()
    for _ in range(10):
        known.fold(ended(ok=False))
    assert first_token(known) is None
    assert known.success(NOW) == pytest.approx(1 - 10 / 30)
    assert known.success(NOW + 86_400_000) > 0.99, "and are forgotten"
    before = known.success(NOW)
    known.fold(ended(ok=None))
    assert known.success(NOW) == before
    known.fold(ended())
    assert known.success(NOW) > before


def test_what_is_written_down_is_known_again() -> None:
    known = Latencies()
    for n in range(200):
        known.fold(ended(100 + n % 7, input_tokens=n * 400))
    again = Latencies.of(TargetMeasures.decode(known.written().encode()))
    for size in (100, 5_000, 60_000):
        one, other = first_token(known, size), first_token(again, size)
        assert one is not None
        assert other is not None
        assert abs(one.quantile(0.5) - other.quantile(0.5)) < 0.004
    assert again.output == known.output


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=2 * KEPT), st.floats(0, 1))
def test_a_quantile_lies_among_the_last_samples(firsts: list[int], q: float) -> None:
    known = Latencies()
    for first in firsts:
        known.fold(ended(first))
    found = first_token(known)
    assert found is not None
    last = [first / 1000 for first in firsts[-KEPT:]]
    assert list(found.seconds) == sorted(last)
    assert min(last) <= found.quantile(q) <= max(last)
    assert quantile(found.seconds, 0) <= quantile(found.seconds, q)
