from __future__ import annotations

import asyncio

import pytest

from keyrail.bus import tasks


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    lost = 0

    async def loses_the_first() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost += 1

    task = asyncio.create_task(loses_the_first())
    await asyncio.sleep(0)
    await tasks.end(task)
    assert task.cancelled()
    assert lost == 1


async def test_a_task_that_failed_has_ended() -> None:
    async def fails() -> None:
        raise ValueError

    task = asyncio.create_task(fails())
    await tasks.end(task)
    assert task.done()
    await asyncio.gather(task, return_exceptions=True)
    await tasks.end()
