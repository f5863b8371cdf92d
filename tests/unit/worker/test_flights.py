"""One call for all who ask the same: in one worker, among workers, and when the one who calls fails."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from support.nats import eventually

from keyrail.bus.entries import Entries
from keyrail.bus.errors import BusUnavailable
from keyrail_provider_worker.caching import flights, shelf
from keyrail_provider_worker.caching.flights import Flights, Outcome
from keyrail_provider_worker.caching.shelf import Shelf

NAME = "t.k"


class Bucket:
    """Takes the place of the bucket that workers share."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.away = False

    async def open(self) -> None:
        pass

    async def get(self, key: str, within_s: float = 0) -> bytes | None:
        await self._moment()
        return self.held.get(key)

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        await self._moment()
        self.held[key] = value

    async def claim(self, key: str, value: bytes, ttl_s: float) -> bool:
        await self._moment()
        if key in self.held:
            return False
        self.held[key] = value
        return True

    async def drop(self, key: str) -> None:
        await self._moment()
        self.held.pop(key, None)

    async def _moment(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise BusUnavailable("away")


class Worker:
    def __init__(self, bucket: Bucket) -> None:
        entries = cast("Entries", bucket)
        self.shelf = Shelf(entries)
        self.flights = Flights(entries, self.shelf)
        self.boarding: list[asyncio.Task[Outcome]] = []

    async def board(self, count: int) -> None:
        self.boarding += [asyncio.create_task(self.flights.board(NAME)) for _ in range(count)]
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def outcomes(self) -> list[Outcome]:
        return [task.result() for task in self.boarding if task.done() and not task.cancelled()]

    def land(self, packed: bytes) -> None:
        self.flights.landed(NAME, packed, self.shelf.put(NAME, packed, 60))


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


async def test_all_of_one_worker_have_the_answer_of_the_one_who_leads(bucket: Bucket) -> None:
    worker = Worker(bucket)
    await worker.board(100)
    assert worker.outcomes == ["lead"]
    worker.land(b"answer")
    assert (await asyncio.gather(*worker.boarding)).count(b"answer") == 99
    await worker.flights.close()
    assert bucket.held == {NAME: b"answer"}, "the lease is given back after the answer is there"


async def test_among_two_workers_one_leads(bucket: Bucket) -> None:
    one, other = Worker(bucket), Worker(bucket)
    await one.board(3)
    await other.board(3)
    assert one.outcomes + other.outcomes == ["lead"]
    one.land(b"answer")
    assert await asyncio.gather(*other.boarding) == [b"answer"] * 3


async def test_when_the_leader_fails_one_of_those_who_wait_leads(bucket: Bucket) -> None:
    worker = Worker(bucket)
    await worker.board(4)
    for failed in range(1, 4):
        worker.flights.failed(NAME)
        await eventually(lambda failed=failed: worker.outcomes == ["lead"] * (failed + 1))
    worker.flights.failed(NAME)
    await worker.flights.close()
    assert bucket.held == {}


async def test_when_the_leader_of_another_worker_fails_one_here_leads(bucket: Bucket) -> None:
    one, other = Worker(bucket), Worker(bucket)
    await one.board(1)
    await other.board(2)
    one.flights.failed(NAME)
    await eventually(lambda: other.outcomes == ["lead"])
    other.land(b"answer")
    assert await asyncio.gather(*other.boarding) == ["lead", b"answer"]


async def test_an_answer_that_is_not_for_sharing_lets_everybody_go_alone(bucket: Bucket) -> None:
    one, other = Worker(bucket), Worker(bucket)
    await one.board(3)
    await other.board(3)
    one.flights.unfit(NAME)
    assert await asyncio.gather(*one.boarding, *other.boarding) == ["lead"] + ["alone"] * 5


async def test_who_leaves_while_it_waits_takes_nobody_along(bucket: Bucket) -> None:
    worker = Worker(bucket)
    await worker.board(3)
    worker.boarding[1].cancel()
    await asyncio.wait([worker.boarding[1]])
    worker.flights.failed(NAME)
    assert await worker.boarding[2] == "lead"


async def test_who_leaves_just_when_it_is_to_lead_passes_that_on(bucket: Bucket) -> None:
    worker = Worker(bucket)
    await worker.board(3)
    worker.flights.failed(NAME)
    worker.boarding[1].cancel()
    assert await worker.boarding[2] == "lead"
    assert worker.boarding[1].cancelled()


async def test_who_leaves_while_it_asks_for_the_lease_passes_that_on(bucket: Bucket) -> None:
    worker = Worker(bucket)
    worker.boarding = [asyncio.create_task(worker.flights.board(NAME)) for _ in range(2)]
    await asyncio.sleep(0)
    worker.boarding[0].cancel()
    assert await worker.boarding[1] == "lead"


async def test_nobody_waits_for_ever(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "FOLLOW_S", 0.05)
    one, other = Worker(bucket), Worker(bucket)
    await one.board(2)
    await other.board(2)
    assert await one.boarding[1] == "alone"
    assert sorted(map(str, await asyncio.gather(*other.boarding))) == ["alone", "lead"]
    one.land(b"late")
    await one.flights.close()


async def test_an_answer_that_came_between_the_look_and_the_lease_is_taken(bucket: Bucket) -> None:
    bucket.held[NAME] = b"answer"
    worker = Worker(bucket)
    assert await worker.flights.board(NAME) == b"answer"
    await worker.flights.close()
    assert bucket.held == {NAME: b"answer"}


async def test_without_a_bus_one_worker_still_makes_one_call(bucket: Bucket) -> None:
    bucket.away = True
    worker = Worker(bucket)
    assert await worker.shelf.find(NAME) is None
    await worker.board(3)
    assert worker.outcomes == ["lead"]
    worker.land(b"answer")
    assert await asyncio.gather(*worker.boarding) == ["lead", b"answer", b"answer"]
    assert await worker.shelf.find(NAME) == b"answer", "in memory"
    await worker.flights.close()
    await worker.shelf.close()


async def test_memory_is_bounded_in_bytes_and_time(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "NEAR_BYTES", 10)
    bucket.away = True
    worker = Worker(bucket)
    for name in ("t.a", "t.b", "u.c"):
        worker.shelf.put(name, b"12345", 60)
    assert [await worker.shelf.find(name) for name in ("t.a", "t.b", "u.c")] == [None, b"12345", b"12345"]
    monkeypatch.setattr(shelf.time, "monotonic", lambda: float("inf"))
    assert await worker.shelf.find("t.b") is None
    await worker.shelf.close()
