"""Verdicts in the bucket of scores: each counts once."""

from __future__ import annotations

import asyncio
import random

import pytest
from support.nats import NatsServer

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusUnavailable
from keyrail.bus.scores import Scores, digest
from keyrail.contracts import score_keys, streams
from keyrail.contracts.scores import Exemplar, TaskScores, Verdict
from keyrail.routing import learning
from keyrail.routing.text import features

NOON = 1_795_435_200_000
PACKED = features("add the numbers 1 and 2").pack()


def verdict(number: int, task: str = "sums", **changes: object) -> Verdict:
    given = Verdict(
        id=f"v{number}",
        request_id=f"r{number}",
        route="chat",
        task=task,
        scores={"openai/mini": float(number % 2)},
        at_ms=NOON,
    )
    return given.replace(**changes)


async def good_and_bad(scores: Scores, task: str = "sums") -> tuple[float, float]:
    tally = (await scores.task("acme", "chat", task)).tallies["openai/mini"]
    return tally.good, tally.bad


def test_digests_are_those_that_a_fold_remembers() -> None:
    assert learning.fold(TaskScores(task="sums"), verdict(1)).seen == (digest("v1"),)


async def test_verdicts_that_come_again_in_any_order_count_once(nats: NatsServer) -> None:
    bus = await nats.bus("control")
    scores = Scores(bus)
    file = [verdict(number) for number in range(1_000)]
    assert await scores.fold("acme", file) == 1_000
    once = await scores.task("acme", "chat", "sums")
    random.Random(3).shuffle(file)
    assert await scores.fold("acme", file) == 0
    assert await scores.fold("acme", [*file, verdict(1_000, id="more")]) == 1
    assert await scores.fold("acme", file) == 0
    assert await good_and_bad(scores) == (500, 501)
    assert once.tallies["openai/mini"].good == 500
    assert await scores.fold("other", file[:3]) == 3, "another tenant's are its own"
    assert await good_and_bad(scores) == (500, 501)
    await bus.close()


async def test_two_that_fold_the_same_file_at_once_count_each_once(nats: NatsServer) -> None:
    buses = [await nats.bus("control") for _ in range(2)]
    file = [verdict(number, task=("sums", "a task/of.its own")[number % 2]) for number in range(600)]
    new = await asyncio.gather(*(Scores(bus).fold("acme", file) for bus in buses))
    assert sum(new) == 600
    assert await good_and_bad(Scores(buses[0])) == (0, 300)
    assert await good_and_bad(Scores(buses[0]), "a task/of.its own") == (300, 0)
    for bus in buses:
        await bus.close()


class Dying(Documents):
    """Dies before, or after, one of its changes."""

    def __init__(self, bus: Bus, at: int, *, done: bool) -> None:
        super().__init__(bus, streams.SCORES.name)
        self._left, self._done = at, done

    async def change(self, key, change):  # type: ignore[no-untyped-def] # pyright: ignore
        self._left -= 1
        if self._left == 0 and not self._done:
            raise BusUnavailable("died")
        result = await super().change(key, change)  # pyright: ignore
        if self._left == 0:
            raise BusUnavailable("died")
        return result


@pytest.mark.parametrize("done", [True, False], ids=["after", "before"])
async def test_a_fold_that_died_anywhere_can_be_brought_again(nats: NatsServer, done: bool) -> None:
    bus = await nats.bus("control")
    file = [verdict(number, features=PACKED if number % 40 == 0 else None) for number in range(300)]
    tenants = range(1, 60)
    for at in tenants:
        scores = Scores(bus)
        scores._documents = Dying(bus, at, done=done)  # pyright: ignore[reportPrivateUsage]
        tenant = f"t{at}"
        try:
            await scores.fold(tenant, file)
        except BusUnavailable:
            await Scores(bus).fold(tenant, file)
        else:
            assert at > 10, "it died nowhere"
            break
        tally = (await Scores(bus).task(tenant, "chat", "sums")).tallies["openai/mini"]
        assert (tally.good, tally.bad) == (150, 150)
    await bus.close()


async def test_exemplars_have_features_and_no_text_and_gather_scores(nats: NatsServer) -> None:
    bus = await nats.bus("control")
    scores = Scores(bus)
    first = verdict(1, features=PACKED)
    second = verdict(2, request_id="r1", features=PACKED, scores={"openai/large": 1.0}, at_ms=NOON + 5)
    await scores.fold("acme", [first])
    await scores.fold("acme", [second, second])
    key = score_keys.exemplar("acme", "chat", "r1")
    found = Exemplar.decode(await Documents(bus, streams.SCORES.name).get(key) or b"")
    assert found == Exemplar(
        id="r1",
        task="sums",
        features=PACKED,
        scores={"openai/mini": 1.0, "openai/large": 1.0},
        at_ms=NOON + 5,
    )
    assert score_keys.parsed(key) == ("acme", "chat")
    await bus.close()


def test_names_can_be_taken_apart_and_collide_with_nothing() -> None:
    key = score_keys.task("a.b", "r 1", "*.>")
    assert score_keys.parsed(key) == ("a.b", "r 1")
    assert len(key.split(".")) == 4
    assert score_keys.parsed(score_keys.taken("a", "b", "c", "0f")) is None
    assert score_keys.parsed("a.b.c.d") is None
