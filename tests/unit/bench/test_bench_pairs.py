"""What translation costs: the arithmetic, and that what is timed really translates."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench import pairs, wires
from bench.machine import Machine
from bench.pairs import Cost, Pair, Pairs
from bench.report import Report, checks, render
from bench.run import parse, verdict
from keyrail.contracts.slips import Dialect
from keyrail.dialects.joined import Joined

PASSED = Cost(request=30.0, alone=4.0, many=3.0)


def pair(request: float, alone: float, many: float, wire: Dialect = "gemini-generate") -> Pair:
    return Pair(
        face="openai-chat", wire=wire, cost=Cost(request=request, alone=alone, many=many), passed=PASSED
    )


def report(measured: Pairs | None) -> Report:
    machine = Machine(cpu="A", cores=2, kernel="6", python="3.11", loopback_us=4.0, python_ns=30.0)
    return Report(time="2026-01-01", quick=False, machine=machine, translation=measured)


@pytest.mark.parametrize("wire", pairs.WIRES)
@pytest.mark.parametrize("face", pairs.FACES)
def test_what_is_timed_carries_all_words_there_and_back(face: Dialect, wire: Dialect) -> None:
    assert pairs.problems(face, wire) == []


@pytest.mark.parametrize("face", pairs.FACES)
def test_words_that_a_translation_loses_are_a_problem(face: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = wires.SYSTEM
    monkeypatch.setattr(wires, "SYSTEM", "")
    body = wires.request_bytes(face)
    monkeypatch.setattr(wires, "SYSTEM", lost)

    def without(face: Dialect, *, stream: bool = False) -> bytes:
        return body

    monkeypatch.setattr(wires, "request_bytes", without)

    (found,) = pairs.problems(face, "gemini-generate")

    assert "lost in the request: You answer travellers" in found


def test_a_stream_that_loses_an_event_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Joined.feed

    def deaf(self: Joined, data: bytes) -> bytes:
        return feed(self, data.replace(b" bicycle", b""))

    monkeypatch.setattr(Joined, "feed", deaf)

    assert [problem.rpartition(": ")[2] for problem in pairs.problems("openai-chat", "gemini-generate")] == [
        "the stream has other words",
        "the stream has other words",
    ]


@pytest.mark.parametrize("face", pairs.FACES)
def test_a_request_has_about_a_kilobyte_three_turns_and_two_tools(face: Dialect) -> None:
    body: dict[str, Any] = json.loads(wires.request_bytes(face))
    turns = [turn for turn in body["input" if "input" in body else "messages"] if turn["role"] != "system"]

    assert 900 < len(wires.request_bytes(face)) < 1_400
    assert (len(turns), len(body["tools"])) == (3, 2)


@pytest.mark.parametrize("wire", pairs.WIRES)
def test_a_stream_has_a_hundred_events_with_words(wire: Dialect) -> None:
    events = wires.stream(wire)

    assert sum(any(word.encode() in event for word in (" bicycle", " coast")) for event in events) >= 7
    assert wires.EVENTS <= len(events) <= wires.EVENTS + 8
    assert b"".join(pairs.gathered(events, 7)) == b"".join(events)
    assert len(pairs.gathered(events, 7)) == -(-len(events) // 7)


def test_translation_costs_what_is_over_the_same_clients_pass_through() -> None:
    over = pair(130.0, 7.5, 4.0).over

    assert (over.request, over.alone, over.many) == (100.0, 3.5, 1.0)


@pytest.mark.parametrize(
    ("measured", "within"),
    [
        (pair(180.0, 9.0, 8.0), True),
        (pair(180.1, 9.0, 8.0), False),
        (pair(180.0, 9.1, 8.0), False),
        (pair(180.0, 9.0, 8.1), False),
    ],
)
def test_each_figure_has_its_limit(measured: Pair, within: bool) -> None:
    assert measured.within is within
    assert ("pass" if within else "FAIL") in pairs.render(Pairs(pairs=[measured]))
    assert all(check.passed for check in checks(report(Pairs(pairs=[measured])))) is within


def test_the_best_of_each_figure_counts() -> None:
    rounds = [Cost(request=3.0, alone=2.0, many=9.0), Cost(request=4.0, alone=1.0, many=8.0)]

    assert pairs.best(rounds) == Cost(request=3.0, alone=1.0, many=8.0)


def test_time_is_that_of_one_piece_of_work() -> None:
    clock = iter([1.0, 1.5])
    done: list[int] = []

    assert pairs.timed(lambda: done.append(1), 1_000, lambda: next(clock)) == pytest.approx(500.0)
    assert len(done) == 1_000


def test_the_dearest_pair_is_judged_and_passing_on_is_none() -> None:
    same = Pair(face="openai-chat", wire="openai-chat", cost=PASSED, passed=PASSED)

    assert pairs.dearest([same]) == (None, None)
    assert pairs.dearest([same, pair(40.0, 4.5, 5.0), pair(50.0, 4.0, 3.0)]) == (20.0, 2.0)


def test_what_was_not_measured_does_not_pass() -> None:
    failed = report(Pairs(problems=["openai-chat at gemini-generate: the answer has other words"]))

    assert not any(check.passed for check in checks(failed))
    assert "!  openai-chat at gemini-generate" in render(failed)
    assert verdict(failed, must_pass=False) == 1


def test_a_missed_target_fails_the_run_only_when_it_must_pass() -> None:
    slow = report(Pairs(pairs=[pair(1_000.0, 4.0, 3.0)]))

    assert verdict(slow, must_pass=False) == 0
    assert verdict(slow, must_pass=True) == 1
    assert "FAIL  translation, us/request" in render(slow)
    assert "one addition in Python 30.0 ns" in render(slow)


def test_all_pairs_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(work: Callable[[], object], times: int) -> float:
        work()
        return 200.0

    monkeypatch.setattr(pairs, "timed", timed)

    measured = pairs.measure(quick=True)

    assert {(pair.face, pair.wire) for pair in measured.pairs} == {
        (face, wire) for face in pairs.FACES for wire in pairs.WIRES
    }
    assert all(pair.cost == Cost(request=200.0, alone=2.0, many=2.0) for pair in measured.pairs)
    assert pairs.render(measured).count("passed on") == len(pairs.FACES)


def test_the_pairs_alone_are_a_run_of_their_own() -> None:
    assert parse(["--pairs"]).pairs
    assert not parse([]).pairs
