"""Whom to address in person, by what was heard of whom."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.bus.connection import Bus, BusSettings
from keyrail.bus.liveness import BEAT_S, REMEMBER_S, SILENT_S, Heard, Hearing, until_next
from keyrail.contracts.signals import Alive


def hearing(**ages: float) -> Hearing:
    """`ages`: seconds since each worker's last beat."""
    heard = Hearing(Bus(BusSettings("nats://nowhere", "router")), ("provider-worker",))
    now = asyncio.get_running_loop().time()
    for instance, age in ages.items():
        add(heard, instance, now - age)
    return heard


def add(
    hearing: Hearing,
    instance: str,
    at: float,
    *,
    service: str = "provider-worker",
    ready: bool = True,
    leaving: bool = False,
) -> None:
    alive = Alive(service=service, instance=instance, sent_ms=0, ready=ready, leaving=leaving)
    hearing.heard[instance] = Heard(at, alive)


async def test_while_all_are_heard_the_queue_group_will_do() -> None:
    assert hearing(a=0.1, b=1.0).instead("provider-worker", lambda: 0.0) is None


async def test_while_one_is_silent_the_others_are_addressed_in_person() -> None:
    heard = hearing(a=0.1, paused=SILENT_S + 1, c=0.5)
    assert heard.instead("provider-worker", lambda: 0.0) == "a"
    assert heard.instead("provider-worker", lambda: 0.99) == "c"


async def test_when_nobody_is_heard_the_queue_group_has_to_do() -> None:
    assert hearing(a=SILENT_S + 1, b=SILENT_S + 1).instead("provider-worker", lambda: 0.5) is None


async def test_one_that_left_or_is_long_gone_is_not_missed() -> None:
    heard = hearing(a=0.1, long_gone=REMEMBER_S + 1)
    add(heard, "left", asyncio.get_running_loop().time() - SILENT_S - 1, leaving=True)
    assert heard.instead("provider-worker", lambda: 0.0) is None


async def test_nobody_who_is_leaving_is_addressed_and_no_other_service() -> None:
    heard = hearing(a=0.1, paused=SILENT_S + 1)
    now = asyncio.get_running_loop().time()
    add(heard, "draining", now, ready=False)
    add(heard, "ingress", now, service="ingress")
    assert {heard.instead("provider-worker", lambda d=d: d / 10) for d in range(10)} == {"a"}


@given(st.floats(1.5e9, 2e9))
def test_beats_fall_on_whole_seconds_and_none_comes_right_after_another(now: float) -> None:
    pause = until_next(now)
    assert 0.1 * BEAT_S < pause <= 1.1 * BEAT_S
    late = (now + pause) % BEAT_S
    assert min(late, BEAT_S - late) == pytest.approx(0, abs=1e-6)
    woken_early = now + pause - 0.002
    assert 0.9 * BEAT_S < until_next(woken_early) <= 1.1 * BEAT_S
