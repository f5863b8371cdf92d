"""What a worker makes of a racer's words."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.contracts.signals import Cancel
from keyrail.contracts.slips import RACE_HOPS, Facts, Plan, Race, Role, Slip, Target
from keyrail_provider_worker.standing import Place, Verdicts


def slip(hop: int = 0, role: Role = "race", mode: Any = "first") -> Slip:
    now = now_ms()
    return Slip(
        request_id="q",
        inbox="_INBOX_racer.i.r.1.0",
        hop=hop,
        tenant="t",
        key_id="k",
        received_ms=now,
        deadline_ms=now + 60_000,
        take_by_ms=now,
        facts=Facts(model="m"),
        plan=Plan(strategy="race", targets=(Target(provider="p", model="m"),), race=Race(mode=mode)),
        role=role,
    )


def word(standing: Any, hop: int = 0, *, drain: bool = False) -> Cancel:
    return Cancel(request_id="q", epoch=0, hop=hop, reason="race", standing=standing, drain=drain)


class Running:
    """An attempt and its task, as far as verdicts look at them."""

    def __init__(self, hop: int) -> None:
        self.place = Place()
        self.reply = SimpleNamespace(muted=False)
        self.slip = slip(hop)
        self.task = asyncio.create_task(asyncio.sleep(60))

    @property
    def pair(self) -> Any:
        return cast("Any", (self, self.task))

    async def stopped(self) -> bool:
        await asyncio.sleep(0)
        return self.task.cancelled()


async def test_a_word_is_about_one_contender_alone() -> None:
    verdicts, mine, other = Verdicts(), Running(RACE_HOPS + 1), Running(0)
    verdicts.tell(word("lost", RACE_HOPS), [mine.pair, other.pair])
    assert await mine.stopped()
    assert not await other.stopped()
    assert (mine.place.standing, other.place.standing) == ("lost", None)
    assert verdicts.lost(slip(RACE_HOPS + 2)), "another key of the same contender"
    assert not verdicts.lost(slip(2 * RACE_HOPS))
    other.task.cancel()


async def test_the_winner_runs_on_and_so_does_a_drained_loser_unread() -> None:
    verdicts, winner, loser = Verdicts(), Running(0), Running(RACE_HOPS)
    verdicts.tell(word("won"), [winner.pair, loser.pair])
    verdicts.tell(word("lost", RACE_HOPS, drain=True), [winner.pair, loser.pair])
    assert not await winner.stopped()
    assert not await loser.stopped()
    assert (winner.reply.muted, loser.reply.muted) == (False, True)
    winner.task.cancel()
    loser.task.cancel()


async def test_a_whole_answer_waits_for_its_word_and_a_cancel_does_not_change_it() -> None:
    place = Place()
    waiting = asyncio.create_task(place.settle(slip(), None, content_sent=True))
    await asyncio.sleep(0)
    assert place.waiting
    place.say("lost")
    place.say("won")
    await waiting
    assert place.standing == "lost", "the first word counts"
    again = Place()
    waiting = asyncio.create_task(again.settle(slip(), None, content_sent=True))
    await asyncio.sleep(0)
    waiting.cancel()
    await waiting
    assert again.standing is None


async def test_nobody_waits_for_a_word_on_a_failure_that_can_not_have_won() -> None:
    failed = Failure(kind="server", message="", status=502)
    await asyncio.wait_for(Place().settle(slip(), failed, content_sent=False), 1)
    await asyncio.wait_for(Place().settle(slip(mode="best"), failed, content_sent=True), 1)
    late = Place()
    waiting = asyncio.create_task(late.settle(slip(), failed, content_sent=True))
    await asyncio.sleep(0)
    assert late.waiting, "it may have won before it broke off"
    late.say("won")
    await waiting
