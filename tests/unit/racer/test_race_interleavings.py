"""Races in any order of what can come: one winner, and everybody is accounted for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.race_field import FREE, NAMES, Field, failure

from keyrail.contracts.frames import Kind
from keyrail.contracts.signals import Cancel
from keyrail.contracts.slips import Hold, Race
from keyrail_racer.extra import Bucket

STEPS = ("take", "content", "comment", "role", "end", "fail", "refuse", "lose", "gap", "wait", "stop")


@dataclass
class Model:
    """What contenders may still do."""

    taken: set[int] = field(default_factory=set[int])
    ended: set[int] = field(default_factory=set[int])


def play(race: Field, steps: Sequence[tuple[str, int]]) -> Model:
    model = Model()
    for step, index in steps:
        if step == "wait":
            race.wait(0.3 * (index + 1))
            continue
        if step == "stop":
            if index == 0:
                race.racing.stop("client gone")
                race._look()  # pyright: ignore[reportPrivateUsage]
            continue
        number = index % max(len(race.started), 1)
        if number in model.ended:
            continue
        if number not in model.taken:
            model.taken.add(number)
            race.take(number)
            continue
        _act(race, model, step, number)
        assert len([say for say in race.said if say.kind in (Kind.END, Kind.FAIL)]) <= 1
        assert race.bucket.balance >= 0
        assert race.room.used >= 0
    return model


def _act(race: Field, model: Model, step: str, number: int) -> None:
    match step:
        case "content":
            race.content(number, NAMES[number % 4])
        case "comment":
            race.hear(number, Kind.DATA, b": keep-alive\n\n")
        case "role":
            race.hear(number, Kind.DATA, b'data: {"choices":[]}\n\n')
        case "end":
            model.ended.add(number)
            race.content(number, NAMES[number % 4])
            race.end(number)
        case "fail" | "refuse":
            model.ended.add(number)
            race.fail(number, failure("server" if step == "fail" else "bad_request"), "0.5")
        case "lose":
            model.ended.add(number)
            race.racing.lose(number, failure("unavailable"), race.now, 0)
            race._look()  # pyright: ignore[reportPrivateUsage]
        case "gap":
            race.lose_a_frame(number)
        case _:
            pass


RULES = st.builds(
    Race,
    mode=st.sampled_from(["first", "first_complete", "best", "hedge"]),
    most=st.integers(1, 4),
    delays_s=st.sampled_from([(), (0.3,), (0.1, 0.6)]),
    within_s=st.sampled_from([0.5, 2.0]),
    drain=st.booleans(),
    most_usd=st.sampled_from([FREE, (Decimal(1),) * 4, (Decimal(3), Decimal(1), Decimal(2), Decimal(1))]),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    rule=RULES,
    targets=st.integers(2, 4),
    earned=st.sampled_from([0, 2, 50]),
    held=st.booleans(),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 4)), max_size=40),
)
def test_whatever_happens_there_is_one_winner_and_everybody_is_accounted_for(
    rule: Race, targets: int, earned: int, held: bool, steps: list[tuple[str, int]]
) -> None:
    check_any(rule, targets, earned, held, steps)


@pytest.mark.proof
@pytest.mark.timeout(1_200)
@settings(max_examples=20_000, deadline=None)
@given(
    rule=RULES,
    targets=st.integers(2, 4),
    earned=st.sampled_from([0, 2, 50]),
    held=st.booleans(),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 4)), max_size=80),
)
def test_twenty_thousand_interleavings(
    rule: Race, targets: int, earned: int, held: bool, steps: list[tuple[str, int]]
) -> None:
    check_any(rule, targets, earned, held, steps)


def check_any(rule: Race, targets: int, earned: int, held: bool, steps: list[tuple[str, int]]) -> None:
    bucket = Bucket()
    bucket.earn(Decimal(earned), 100.0)
    hold = Hold(router="r", usd=Decimal(20), most=(Decimal(3),) * targets) if held else None
    race = Field(rule, targets=targets, hold=hold, bucket=bucket)
    model = play(race, steps)
    finish(race, model)
    assert race.racing.over
    assert race.racing.done
    assert len(race.over) == 1
    outcome = race.over[0].outcome
    last = [say for say in race.said if say.kind in (Kind.END, Kind.FAIL)]
    assert len(last) == (outcome != "cancelled")
    assert (race.kinds[0], race.kinds.count(Kind.HEAD) <= 1) == (Kind.TAKEN, True)
    texts = {name for name in NAMES if b'"%b"' % name.encode() in race.answer}
    assert len(texts) <= 1, "of two contenders"
    won = [tell.cancel for tell in race.told if tell.cancel.standing == "won"]
    assert len(won) == (race.racing.winner is not None)
    _nobody_is_told_twice([tell.cancel for tell in race.told if tell.cancel.standing is not None])
    assert (len(race.routers) == 1) == held
    assert race.room.used == 0
    assert 0 <= bucket.balance <= earned
    assert len(race.started) <= 2 * targets


def _nobody_is_told_twice(cancels: list[Cancel]) -> None:
    hops = [cancel.hop for cancel in cancels]
    assert len(hops) == len(set(hops))


def finish(race: Field, model: Model) -> None:
    """Let all that still runs come to its end, the winner with an answer."""
    for _ in range(12):
        for number in range(len(race.started)):
            if number in model.ended:
                continue
            if number not in model.taken:
                model.taken.add(number)
                race.take(number)
            model.ended.add(number)
            lost = race.racing.over or race.racing.winner not in (None, race.racing.contenders[number])
            if lost and not race.racing.rule.drain:
                race.fail(number, failure("cancelled"), "0.5")
            else:
                race.end(number)
        race.wait(1)
