"""One timer for many instants."""

from __future__ import annotations

import asyncio
import time

from keyrail_provider_worker.deadlines import Deadlines


async def test_each_is_called_once_at_its_time_in_whatever_order_they_are_set() -> None:
    deadlines = Deadlines()
    called: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    now = time.monotonic()
    for name, after_s in (("late", 0.06), ("soon", 0.02), ("middle", 0.04), ("past", -1.0)):

        def call(name: str = name, at: float = now + after_s) -> None:
            called.put_nowait((name, time.monotonic() - at))

        deadlines.set(name, now + after_s, call)
    order = [await asyncio.wait_for(called.get(), 5) for _ in range(4)]
    assert [name for name, _ in order] == ["past", "soon", "middle", "late"]
    assert all(late_s >= 0 for _, late_s in order)
    assert called.empty()


async def test_what_is_dropped_or_set_anew_is_not_called_at_its_old_time() -> None:
    deadlines = Deadlines()
    called: list[str] = []
    over = asyncio.Event()
    now = time.monotonic()
    deadlines.set("dropped", now + 0.01, lambda: called.append("dropped"))
    deadlines.set("moved", now + 0.01, lambda: called.append("before"))
    deadlines.set("moved", now + 0.05, lambda: called.append("after"))
    deadlines.set("last", now + 0.08, over.set)
    deadlines.drop("dropped")
    deadlines.drop("never set")
    await asyncio.wait_for(over.wait(), 5)
    assert called == ["after"]


async def test_a_call_may_set_and_drop_others() -> None:
    deadlines = Deadlines()
    called: list[str] = []
    over = asyncio.Event()
    now = time.monotonic()

    def first() -> None:
        deadlines.drop("second")
        deadlines.set("third", time.monotonic() + 0.01, over.set)

    deadlines.set("first", now + 0.01, first)
    deadlines.set("second", now + 0.01, lambda: called.append("second"))
    await asyncio.wait_for(over.wait(), 5)
    assert called == []
