"""Prices of the configuration as versions in a real ledger, whatever the service missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal

import pytest

from keyrail.bus.connection import Bus
from keyrail.contracts import streams
from keyrail.contracts.base import Contract, Json
from keyrail.contracts.config import ConfigView, ModelPrice, ProviderConfig
from keyrail.contracts.ledger import LedgerPage
from keyrail.contracts.repricing import PricesQuery
from keyrail_cost_accounting import versions as recorded
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.ledger import ClickHouse
from keyrail_cost_accounting.metrics import Metrics
from keyrail_cost_accounting.price_book import PriceBook
from keyrail_cost_accounting.price_queries import history

AT = 1_790_000_000_000
Row = dict[str, Json]


class Source(Contract, frozen=True, kw_only=True):
    """As control writes it, with more than is read here."""

    filename: str = "keyrail.yaml"
    text: str = ""
    applied_ms: int
    previous: int | None = None


def view(revision: int, discount: str | None = None, **prices: str) -> ConfigView:
    given = {name: ModelPrice(input=Decimal(usd), output=Decimal(usd)) for name, usd in prices.items()}
    provider = ProviderConfig(
        name="mine",
        base_url="http://127.0.0.1:1",
        prices=given,
        discount=None if discount is None else Decimal(discount),
        multipliers={"tier:flex": Decimal("0.5")} if discount else {},
    )
    return ConfigView(revision=revision, providers={"mine": provider})


@pytest.fixture
async def publish(bus: Bus) -> Callable[[ConfigView, int | None], Awaitable[None]]:
    """Put a revision in force, as control does."""
    bucket = await bus.js.key_value(streams.CONFIG.name)

    async def put(view: ConfigView, previous: int | None) -> None:
        source = Source(applied_ms=AT + view.revision, previous=previous)
        await bucket.put(f"source.{view.revision}", source.encode())
        await bucket.put(f"revision.{view.revision}", view.encode())
        await bucket.put("current", view.encode())

    return put


@pytest.fixture
async def book(bus: Bus, ledger: ClickHouse) -> AsyncIterator[Callable[[], PriceBook]]:
    """Makes books that are closed when the test ends."""
    ledger.command("TRUNCATE TABLE prices")
    made: list[PriceBook] = []

    def make() -> PriceBook:
        made.append(PriceBook(bus, ledger, retry_s=0.01))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        await each.stop()


def versions(ledger: ClickHouse, model: str = "a") -> list[Row]:
    statement = history(PricesQuery(provider="mine", model=model))
    return ledger.ask(statement.sql, statement.parameters)


async def until(ledger: ClickHouse, count: int, model: str = "a") -> list[tuple[Json, ...]]:
    async with asyncio.timeout(10):
        while len(found := versions(ledger, model)) < count:
            await asyncio.sleep(0.01)
    return [(row["model"], row["revision"], row["removed"], row["input"]) for row in found]


async def test_each_change_of_a_price_is_a_version(
    ledger: ClickHouse,
    book: Callable[[], PriceBook],
    publish: Callable[[ConfigView, int | None], Awaitable[None]],
) -> None:
    following = book()
    await publish(view(1, a="1", b="2"), None)
    assert await until(ledger, 1) == [("a", 1, False, "1")]
    assert following.terms() == view(1, a="1", b="2")
    await publish(view(2, a="1"), 1)  # says nothing new of a
    await publish(view(3, a="1.5"), 2)
    await publish(view(4), 3)
    assert await until(ledger, 3) == [("a", 1, False, "1"), ("a", 3, False, "1.5"), ("a", 4, True, None)]
    assert await until(ledger, 2, "b") == [("b", 1, False, "2"), ("b", 2, True, None)]
    assert [row["recorded_ms"] for row in versions(ledger)] == [AT + 1, AT + 3, AT + 4]


async def test_revisions_that_came_while_nobody_listened_are_caught_up_with(
    ledger: ClickHouse,
    book: Callable[[], PriceBook],
    publish: Callable[[ConfigView, int | None], Awaitable[None]],
    bus: Bus,
) -> None:
    """One that was claimed in vain is in the bucket, and in nobody's past."""
    first = book()
    await publish(view(1, a="1"), None)
    await until(ledger, 1)
    await first.stop()
    bucket = await bus.js.key_value(streams.CONFIG.name)
    await bucket.put("source.2", Source(applied_ms=AT + 2, previous=1).encode())
    await bucket.put("revision.2", view(2, a="99").encode())
    await publish(view(3, a="3"), 1)
    await publish(view(5, a="5", discount="0.15"), 3)

    book()
    found = await until(ledger, 4)
    assert found == [("a", 1, False, "1"), ("a", 3, False, "3"), ("*", 5, False, None), ("a", 5, False, "5")]
    newest = versions(ledger)[-1]
    assert (newest["discount"], newest["multipliers"]) == ("0.15", {"tier:flex": "0.5"})


async def test_two_who_record_and_one_who_starts_again_change_nothing(
    ledger: ClickHouse,
    book: Callable[[], PriceBook],
    publish: Callable[[ConfigView, int | None], Awaitable[None]],
) -> None:
    book()
    second = book()
    for number in range(1, 8):
        await publish(view(number, a=str(number % 3 + 1)), number - 1 or None)
    wanted = [("a", number, False, str(number % 3 + 1)) for number in range(1, 8)]
    assert await until(ledger, 7) == wanted
    await second.stop()
    third = book()
    async with asyncio.timeout(10):
        while third.terms() is None:
            await asyncio.sleep(0.01)
    await publish(view(8, a="9"), 7)
    assert await until(ledger, 8) == [*wanted, ("a", 8, False, "9")]


async def test_a_ledger_that_was_away_is_told_later(
    ledger: ClickHouse,
    book: Callable[[], PriceBook],
    publish: Callable[[ConfigView, int | None], Awaitable[None]],
) -> None:
    ledger.command("RENAME TABLE prices TO prices_away")
    try:
        book()
        await publish(view(1, a="1"), None)
        await publish(view(2, a="2"), 1)
    finally:
        ledger.command("RENAME TABLE prices_away TO prices")
    assert await until(ledger, 2) == [("a", 1, False, "1"), ("a", 2, False, "2")]


async def test_history_is_asked_over_the_bus(
    ledger: ClickHouse,
    book: Callable[[], PriceBook],
    publish: Callable[[ConfigView, int | None], Awaitable[None]],
    start: Callable[[ClickHouse], Awaitable[object]],
    ask: Callable[[PricesQuery], Awaitable[LedgerPage]],
) -> None:
    await start(ledger)
    await publish(view(1, a="0.000001"), None)
    await until(ledger, 1)
    page = await ask(PricesQuery(provider="mine", model="a"))
    assert [(row["model"], row["input"]) for row in page.rows] == [("a", "0.000001")]
    assert page.cursor is None


async def test_a_recording_that_ends_by_an_error_of_ours_ends_the_process(
    bus: Bus,
    ledger: ClickHouse,
    metrics: Metrics,
    publish: Callable[[ConfigView, int | None], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(recorded, "chain", broken)
    service = CostAccounting(bus, ledger, metrics)
    told = asyncio.Event()
    await service.start(on_end=told.set)
    await publish(view(1, a="1"), None)
    await asyncio.wait_for(told.wait(), 10)
    await service.drain()
