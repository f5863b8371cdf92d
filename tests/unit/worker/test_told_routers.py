"""Slips that no call is made for: the router that holds money for them hears so."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from keyrail.contracts import slips, subjects
from keyrail.contracts.base import decode_all, now_ms
from keyrail.contracts.signals import Cancel, HoldSettled
from keyrail.contracts.slips import Facts, Hold, Plan, Slip, Target
from keyrail_provider_worker.attempt import Tools
from keyrail_provider_worker.runner import Runner
from keyrail_provider_worker.settlements import LINGER_S

NOW = now_ms()
SLIP = Slip(
    request_id="r",
    inbox="_INBOX_ingress.i.r.1",
    epoch=1,
    hop=2,
    tenant="t",
    key_id="k",
    received_ms=NOW,
    deadline_ms=NOW + 600_000,
    take_by_ms=NOW + 600_000,
    facts=Facts(model="m"),
    plan=Plan(strategy="direct", targets=(Target(provider="p", model="m"),)),
    hold=Hold(router="router-1", usd=Decimal(3), most=(Decimal(3),)),
)


class Wire:
    """Takes the place of the bus and of all else that a runner would only use for a call."""

    instance = "worker"

    def __init__(self) -> None:
        self.sent: list[tuple[str, HoldSettled]] = []
        self.bus = self

    def send(self, subject: str, payload: bytes) -> None:
        self.sent += [(subject, told) for told in decode_all(HoldSettled, payload)]

    async def publish(self, subject: str, payload: bytes) -> None:
        pass


def message(slip: Slip) -> Msg:
    return Msg(cast("Any", None), data=slips.pack(slip, b"{}"))


def runner(wire: Wire, most: int = 0) -> Runner:
    return Runner(cast("Tools", wire), cast("Any", None), cast("Any", None), most)


@pytest.mark.parametrize("late", [True, False])
async def test_a_slip_that_is_too_late_or_one_too_many_did_cost_nothing(late: bool) -> None:
    wire = Wire()
    waiting = runner(wire)
    await waiting.on_slip(message(SLIP.replace(take_by_ms=0) if late else SLIP))
    waiting.settle()
    told = HoldSettled(request_id="r", epoch=1, hop=2, cost_usd=Decimal(0), held_usd=Decimal(3))
    assert wire.sent == [(subjects.settled("router-1"), told)]


async def test_a_slip_that_was_cancelled_before_it_came_did_cost_nothing() -> None:
    wire = Wire()
    waiting = runner(wire, most=1)
    cancel = Cancel(request_id="r", epoch=1, hop=2, reason="gone")
    await waiting.on_cancel(Msg(cast("Any", None), data=cancel.encode()))
    await waiting.on_slip(message(SLIP))
    waiting.settle()
    assert [told.final for _, told in wire.sent] == [True]
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_where_nothing_is_held_nobody_is_told() -> None:
    wire = Wire()
    waiting = runner(wire)
    await waiting.on_slip(message(SLIP.replace(hold=None)))
    waiting.settle()
    assert wire.sent == []


async def test_what_ends_within_a_moment_is_told_together_and_each_router_its_own() -> None:
    wire = Wire()
    messages: list[str] = []
    wire.send = lambda subject, payload: messages.append(subject)
    waiting = runner(wire)
    assert SLIP.hold is not None
    other = SLIP.replace(hold=SLIP.hold.replace(router="router-2"))
    for slip in (SLIP, other, SLIP):
        await waiting.on_slip(message(slip))
    assert messages == []
    async with asyncio.timeout(1):
        while not messages:
            await asyncio.sleep(LINGER_S / 4)
    assert messages == [subjects.settled("router-1"), subjects.settled("router-2")]
