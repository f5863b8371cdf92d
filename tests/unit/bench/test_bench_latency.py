import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.latency import added, percentile, spread


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)]
)
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(
    share: float, expected: float
) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_at_least_the_share_of_all_values_lies_at_or_below_the_percentile(
    values: list[float], share: float
) -> None:
    found = percentile(sorted(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_spread_turns_seconds_into_milliseconds_in_any_order() -> None:
    found = spread([0.003, 0.001, 0.002])
    assert (found.samples, found.p50, found.p99, found.max) == (3, 2.0, 3.0, 3.0)
    assert found.mean == pytest.approx(2.0)


def test_a_spread_of_nothing_is_unknown_and_not_zero() -> None:
    assert spread([]).p50 is None


def test_what_is_added_to_an_unknown_is_unknown() -> None:
    assert added(5.0, 2.0) == 3.0
    assert added(None, 2.0) is None
    assert added(5.0, None) is None
