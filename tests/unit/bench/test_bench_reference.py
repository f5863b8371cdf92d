"""Comparing machines by what both have measured."""

from __future__ import annotations

import pytest

from bench import reference
from bench.figures import Figures, Measured, Outcome
from bench.latency import spread
from bench.reference import Yardstick


def measured(request_us: int, chunk_us: int, rate: float = 1_000.0) -> Measured:
    def load(cpu_us: int) -> Figures:
        outcome = Outcome(
            sent=1_000,
            answered=1_000,
            errors={},
            seconds=1.0,
            requests_per_s=rate,
            latency_ms=spread([0.001]),
            first_byte_ms=spread([0.001]),
            events=100_000,
            events_per_s=1.0,
            cpu_us=1,
        )
        half = cpu_us // 2
        return Figures(outcome=outcome, cpu_us={"one": half, "two": cpu_us - half})

    return Measured(
        loads={"c1": load(1), "c64": load(request_us * 1_000), "burst": load(chunk_us * 100_000)},
    )


@pytest.mark.parametrize(
    ("yardstick", "slower", "there"),
    [
        (Yardstick("a cost twice as high", 100.0, 200.0), 2.0, 500.0),
        (Yardstick("a cost half as high", 100.0, 50.0), 0.5, 2_000.0),
        (Yardstick("a rate half as high", 100.0, 50.0, more_is_faster=True), 2.0, 500.0),
        (Yardstick("not measured", 100.0, None), None, None),
        (Yardstick("nothing answered", 100.0, 0.0), None, None),
    ],
)
def test_a_cost_is_divided_by_how_much_slower_this_machine_is(
    yardstick: Yardstick, slower: float | None, there: float | None
) -> None:
    assert yardstick.slower == slower
    assert yardstick.at_reference(1_000.0) == there
    assert yardstick.at_reference(None) is None


def test_a_run_on_a_machine_half_as_fast_gives_the_same_estimates() -> None:
    def targets(slower: int) -> dict[str, Measured]:
        return {
            "direct": measured(1, 1, rate=reference.DIRECT_REQUESTS_PER_S / slower),
            "keyrail": measured(600 * slower, 12 * slower),
            "litellm": measured(int(reference.LITELLM_REQUEST_US) * slower, 600 * slower),
            "portkey": measured(int(reference.PORTKEY_REQUEST_US) * slower, 1),
        }

    for slower in (1, 2, 3):
        found = targets(slower)
        assert [y.at_reference(600.0 * slower) for y in reference.per_request(found)] == pytest.approx(
            [600] * 3
        )
        assert [y.at_reference(12.0 * slower) for y in reference.per_chunk(found)] == pytest.approx([12])


def test_the_section_shows_ratios_and_says_that_it_estimates() -> None:
    text = reference.render({"keyrail": measured(1_000, 30), "litellm": measured(18_530, 1_200)})
    assert text is not None
    lines = text.splitlines()
    assert lines[0].startswith("Estimates, no targets")
    assert lines[1].split("  ")[0] == "LiteLLM, us/request"
    assert lines[1].split()[2:] == ["18,530", "9,265", "2.00", "x", "5.4%", "of", "it", "500", "us"]
    assert lines[2].split()[2:] == ["1,200", "600", "2.00", "x", "2.5%", "of", "it", "15.0", "us"]
    assert len(lines) == 3, "what was not measured is not shown"


def test_without_keyrail_or_without_anything_to_compare_there_is_no_section() -> None:
    assert reference.render({"litellm": measured(1, 1)}) is None
    assert reference.render({"keyrail": measured(1, 1)}) is None
