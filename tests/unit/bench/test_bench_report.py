from collections.abc import Callable

import pytest

from bench.figures import Figures, Measured, Outcome
from bench.latency import spread
from bench.ledger import Ledger, total_requests
from bench.machine import Machine
from bench.memory import Memory
from bench.memory import render as render_memory
from bench.report import Check, Report, checks, render


def figures(
    *, answered: int = 1_000, p50_ms: float = 1.0, rate: float = 2_000.0, cpu: int = 500_000
) -> Figures:
    outcome = Outcome(
        sent=answered,
        answered=answered,
        errors={},
        seconds=1.0,
        requests_per_s=rate,
        latency_ms=spread([p50_ms / 1e3]),
        first_byte_ms=spread([p50_ms / 1e3]),
        events=answered * 100,
        events_per_s=rate * 100,
        cpu_us=answered * 10,
    )
    return Figures(outcome=outcome, cpu_us={"ingress": cpu, "nats-server": cpu // 2})


def measured(make: Callable[[], Figures] = figures) -> Measured:
    names = ("c1", "c16", "c64", "c256", "open", "paced", "burst")
    sizes = {"ingress": 50_000_000, "nats-server": 20_000_000}
    return Measured(loads={name: make() for name in names}, pss_before=sizes, pss_after=sizes)


def report(**targets: Measured) -> Report:
    machine = Machine(cpu="A", cores=2, kernel="6", python="3.11", loopback_us=4.0, python_ns=30.0)
    return Report(time="2026-01-01", quick=False, machine=machine, targets=targets)


def test_all_processes_of_keyrail_count_against_its_targets() -> None:
    found = checks(
        report(**{"direct": measured(), "keyrail": measured(lambda: figures(p50_ms=3.5, cpu=600_000))})
    )
    assert [check.value for check in found] == [900.0, 9.0, 2_000.0, 2.5]
    assert [check.passed for check in found] == [False, True, True, True]


def test_what_was_not_measured_does_not_pass() -> None:
    found = checks(report(**{"keyrail": Measured()}))
    assert len(found) == 4
    assert not any(check.passed for check in found)


def test_a_load_without_an_answer_gives_no_figures() -> None:
    found = checks(report(**{"direct": measured(), "keyrail": measured(lambda: figures(answered=0))}))
    assert [check.value for check in found] == [None, None, None, None]


def test_without_keyrail_there_are_no_targets_to_miss() -> None:
    assert checks(report(**{"direct": measured()})) == []


@pytest.mark.parametrize(
    ("value", "at_least", "passed"),
    [(5.0, False, True), (5.1, False, False), (5.0, True, True), (4.9, True, False)],
)
def test_a_limit_itself_passes(value: float, at_least: bool, passed: bool) -> None:
    assert Check(name="x", limit=5.0, at_least=at_least, value=value).passed is passed


def test_the_report_says_what_was_skipped_and_what_went_wrong() -> None:
    result = report(direct=measured(), keyrail=Measured(problems=["burst: 3 x status 503"]))
    result.skipped = {"litellm": "not given"}
    text = render(result)
    assert "NOT MEASURED  litellm: not given" in text
    assert "!  keyrail burst: 3 x status 503" in text
    assert "FAIL  requests/s, 64 connections: - (>= 1,500)" in text


def test_the_report_shows_each_service_and_what_keyrail_adds() -> None:
    lines = render(report(direct=measured(), keyrail=measured(lambda: figures(p50_ms=2.25)))).splitlines()
    (ingress,) = (line for line in lines if line.startswith("keyrail ingress"))
    assert ingress.split() == ["keyrail", "ingress", "500", "500", "5.00", "5.00", "50.0", "50.0"]
    assert [line.split() for line in lines if line.startswith("  added")] == [["added", "ms", "1.25"]] * 4


def test_growth_is_over_the_second_half_of_the_requests() -> None:
    sizes = [10, 20, 30, 40, 50, 60, 61, 62, 63, 64, 65]
    memory = Memory(
        requests=[n * 100 for n in range(11)], pss=[{"ledger": size * 1_000_000} for size in sizes]
    )
    assert render_memory(memory).splitlines()[1].split()[-1] == "+5.0"


@pytest.mark.parametrize(
    "text",
    [
        '{"rows": [{"requests": 7, "cost_usd": "0.1"}]}',
        '[{"model": "a", "requests": 3}, {"model": "b", "requests": 4}]',
        '{"total": {"requests": 7}, "rows": [{"requests": 5}, {"requests": 2}]}',
        '{"requests": 7}',
    ],
)
def test_the_ledgers_requests_are_counted_once(text: str) -> None:
    assert total_requests(text) == 7


@pytest.mark.parametrize("text", ["{}", '{"rows": []}', '{"rows": [{"model": "a"}]}', "nonsense"])
def test_an_answer_without_a_count_is_not_taken_for_zero(text: str) -> None:
    with pytest.raises(ValueError, match=r"no count|Expecting"):
        total_requests(text)


@pytest.mark.parametrize(
    ("booked", "problem"),
    [(5, None), (4, "the ledger has 4 requests, 5 were sent"), (6, "the ledger has 6 requests, 5 were sent")],
)
def test_a_ledger_with_a_row_too_few_or_too_many_is_a_problem(booked: int, problem: str | None) -> None:
    ledger = Ledger(["echo", f'{{"requests": {booked}}}'], {"PATH": "/usr/bin:/bin"}, patience_s=0.0)
    assert ledger.problem(5) == problem


def test_a_ledger_that_can_not_be_asked_is_a_problem() -> None:
    ledger = Ledger(["sh", "-c", "echo broken >&2; exit 3"], {"PATH": "/usr/bin:/bin"}, patience_s=0.0)
    assert ledger.problem(5) == "the ledger has exit 3: broken requests, 5 were sent"
