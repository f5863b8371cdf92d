"""However news comes (twice, late, out of order, in part, to two that die in between) the ledger is the same.

The real rows, inserts, sweeps, sums and merges, on the real engine, against a model that merges by rank.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.interleavings import (
    MOVES,
    WORLDS,
    Happened,
    Known,
    Message,
    Model,
    Moves,
    events,
    messages,
    uuid,
)

from keyrail.contracts.base import Contract, encode_all, new_id, now_ms
from keyrail.contracts.events import AlertRaised, AttemptSettled, AttemptStarted, RequestFinished
from keyrail.contracts.ledger import CostsQuery
from keyrail.contracts.usage import Usage
from keyrail_cost_accounting import blocks, measures, queries
from keyrail_cost_accounting.costs import costs
from keyrail_cost_accounting.ledger import ClickHouse
from keyrail_cost_accounting.rollups import DAY, Rollups, floor
from keyrail_cost_accounting.rows import Row, Rows

ROLLUPS = ("costs_minute", "costs_hour", "costs_day")
STATUSES = ("running", "ok", "failed", "cancelled", "lost")
MONEY = ("cost_usd", "failed_usd")
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
REPRICED = """
INSERT INTO attempts SELECT * REPLACE (toUInt8(greatest(rank + 1, 3)) AS rank,
toDecimal64({cost:String}, 12) AS cost_usd) FROM
(SELECT * FROM attempts FINAL WHERE rank >= 2 AND attempt_id IN {ids:Array(UUID)})
"""
"""A new version of settled rows; those that a worker may still settle are left alone."""


LAST_MOMENT = Happened(
    at_ms=-1,
    request=0,
    number=1,
    model="dear",
    team=None,
    status="ok",
    usage=Usage(input_tokens=1),
    cost_usd=Decimal("0.5"),
    told="both",
    finished=True,
    alert_after_ms=None,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One insert, and the events that its rows are of."""

    table: str
    rows: Sequence[Row]
    token: str
    events: Sequence[Contract]


@dataclass(slots=True)
class Consumer:
    """What one process holds: its batch, what of it is still to be inserted, and what it inserted last."""

    batch: list[Message] = field(default_factory=list[Message])
    todo: deque[Block] = field(default_factory=deque[Block])
    last: Block | None = None


class World:
    """A ledger, two consumers of one stream, and the model of what they must make of it."""

    def __init__(
        self, ledger: ClickHouse, happened: Sequence[Happened], midnight_ms: int, order: list[int]
    ) -> None:
        self.ledger = ledger
        self.model = Model()
        self.rollups = Rollups(ledger)
        self._happened = happened
        self._pending = deque(messages(events(happened, midnight_ms), order))
        self._consumers = (Consumer(), Consumer())

    def move(self, what: str, who: int, number: int) -> None:
        consumer = self._consumers[who]
        match what:
            case "take":
                self._take(consumer, 1 + number % 3, 1 + number % 4)
            case "insert":
                self._insert(consumer, acknowledged=number % 8 > 0)
            case "again" if consumer.last is not None:  # it had arrived, and nobody knew
                self._write(consumer, consumer.last)
            case "die":
                self._pending.rotate(number)
                self._pending.extend(consumer.batch)
                consumer.batch, consumer.last = [], None
                consumer.todo.clear()
            case "sweep":
                statement = queries.lost(self._some(number), now_ms())
                self.ledger.command(statement.sql, statement.parameters)
                self.model.sweep(self._some(number))
            case "reprice":
                ids = self._some(number)
                self.ledger.command(REPRICED, {"ids": ids, "cost": f"0.{number:02}"})
                self.model.reprice(ids, Decimal(f"0.{number:02}"))
            case "merge":
                for table in blocks.COLUMNS:
                    self.ledger.command(f"OPTIMIZE TABLE {table} FINAL")
            case "refresh":
                self.rollups.refresh()
            case _:
                pass

    def deliver_the_rest(self) -> None:
        """As a stream does: until all is acknowledged."""
        for who, consumer in enumerate(self._consumers):
            while self._pending or consumer.batch:
                self._take(consumer, 3, 4)
                while consumer.batch:
                    self.move("insert", who, 1)

    def _some(self, number: int) -> list[str]:
        """By the bits of an even number; all, if it is odd."""
        return [uuid(1, at) for at in range(len(self._happened)) if number % 2 or number >> at & 1]

    def _take(self, consumer: Consumer, most: int, block: int) -> None:
        if consumer.batch:
            return
        consumer.batch = [self._pending.popleft() for _ in range(min(most, len(self._pending)))]
        rows = Rows()
        for message in consumer.batch:
            rows.read(encode_all(message))
        assert not rows.rejected
        came = [event for message in consumer.batch for event in message]
        token = new_id()
        for table, its in (("attempts", rows.attempts), ("requests", rows.requests), ("alerts", rows.alerts)):
            for start in range(0, len(its), block):
                part = its[start : start + block]
                ids = {row[-1] if table == "alerts" else row[0] for row in part}
                of_part = [event for event in came if _id(event) in ids]
                consumer.todo.append(Block(table, part, f"{token}-{start}", of_part))

    def _insert(self, consumer: Consumer, *, acknowledged: bool) -> None:
        if consumer.todo:
            self._write(consumer, consumer.todo.popleft())
        if not consumer.todo:
            if not acknowledged:
                self._pending.extend(consumer.batch)
            consumer.batch = []

    def _write(self, consumer: Consumer, block: Block) -> None:
        consumer.last = block
        data = blocks.encode(block.table, block.rows)
        self.ledger.insert(block.table, blocks.COLUMNS[block.table], data, block.token)
        self.model.insert(block.table, block.events)


def _id(event: Contract) -> bytes | int:
    """What tells its row from others in a batch."""
    match event:
        case AttemptStarted(attempt_id=id) | AttemptSettled(started=AttemptStarted(attempt_id=id)):
            return UUID(id).bytes
        case RequestFinished(request_id=id):
            return UUID(id).bytes
        case AlertRaised(raised_ms=at):
            return at
        case _:
            raise AssertionError(event)


def truth(model: Model, world: Sequence[Happened]) -> dict[str, Any]:
    """The sums that must come out."""
    numbers = {uuid(1, at): happened.number for at, happened in enumerate(world)}
    known = model.attempts.values()
    sums: dict[str, Any] = {
        "attempts": len(known),
        "requests": sum(numbers[id] == 1 for id in model.attempts),
        "unknown_cost_attempts": sum(each.cost_usd is None for each in known),
        "estimated_attempts": sum(each.usage.estimated for each in known),
        "cost_usd": sum((each.cost_usd or Decimal(0) for each in known), Decimal(0)),
        "failed_usd": sum((each.cost_usd or Decimal(0) for each in known if each.status != "ok"), Decimal(0)),
    }
    for status in STATUSES:
        sums[status] = sum(each.status == status for each in known)
    for name in TOKENS:
        counted = [count for each in known if (count := getattr(each.usage, name)) is not None]
        sums[name] = sum(counted) if counted else None
    return sums


def sums_of(ledger: ClickHouse, source: str, sums: Mapping[str, str]) -> dict[str, Any]:
    """These sums, over all rows of `source`."""
    columns = ", ".join(
        f"toString({sql}) AS {name}" if name in MONEY else f"{sql} AS {name}" for name, sql in sums.items()
    )
    (row,) = ledger.ask(f"SELECT {columns} FROM {source}", {})
    return {name: Decimal(str(value)) if name in MONEY else value for name, value in row.items()}


def same_rows(world: World, happened: Sequence[Happened]) -> None:
    """Fail unless attempts, requests, alerts, and sums over attempts are as they must be."""
    ledger, model = world.ledger, world.model
    assert attempts_on(ledger) == model.attempts
    requests = ledger.ask("SELECT toString(request_id) AS id FROM requests FINAL", {})
    assert sorted(str(row["id"]) for row in requests) == sorted(model.requests)
    alerts = ledger.ask("SELECT toUnixTimestamp64Milli(raised_at) AS at FROM alerts FINAL", {})
    assert [row["at"] for row in alerts] == ([] if model.alert_ms is None else [model.alert_ms])
    expected = truth(model, happened)
    over_attempts = {name: measures.OVER_ATTEMPTS[name] for name in expected}
    assert sums_of(ledger, "attempts AS a FINAL", over_attempts) == expected


def same_sums(world: World, happened: Sequence[Happened], tables: Sequence[str]) -> None:
    """Fail unless the answer to what was spent, and all sums, are as they must be."""
    ledger, expected = world.ledger, truth(world.model, happened)
    assert answered(ledger, expected) == expected, "before the sums are refreshed"
    world.rollups.refresh()
    assert answered(ledger, expected) == expected, "from sums"
    for table in tables:
        assert sums_of(ledger, f"{table} FINAL", {name: f"sum({name})" for name in expected}) == expected, (
            table
        )


def attempts_on(ledger: ClickHouse) -> dict[str, Known]:
    rows = ledger.ask(
        f"SELECT toString(attempt_id) AS id, rank, status, toString(cost_usd) AS cost, estimated,"
        f" {', '.join(TOKENS)} FROM attempts FINAL",
        {},
    )
    found = {str(row["id"]): known(row) for row in rows}
    assert len(found) == len(rows)
    return found


def known(row: Mapping[str, Any]) -> Known:
    usage = Usage(estimated=row["estimated"], **{name: row[name] for name in TOKENS})
    return Known(row["rank"], row["status"], None if row["cost"] is None else Decimal(row["cost"]), usage)


def answered(ledger: ClickHouse, like: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to the question what was spent, of which these sums."""
    statement = costs(CostsQuery(), now_ms())
    (row,) = ledger.ask(statement.sql, statement.parameters)
    return {name: Decimal(str(row[name] or 0)) if name in MONEY else row[name] for name in like}


def world_after(
    engine: ClickHouse, happened: Sequence[Happened], days: int, order: list[int], moves: Moves
) -> World:
    for table in (*blocks.COLUMNS, *ROLLUPS, "rollups"):
        engine.command(f"TRUNCATE TABLE {table}")
    midnight_ms = (floor(now_ms() // 1000, DAY) - days * DAY) * 1000
    world = World(engine, happened, midnight_ms, order)
    for what, who, number in moves:
        world.move(what, who, number)
    world.deliver_the_rest()
    settled = {uuid(1, at) for at, each in enumerate(happened) if each.told != "start"}
    assert settled == {id for id, each in world.model.attempts.items() if each.rank >= 2}
    return world


def rows_are_the_same(
    engine: ClickHouse, happened: list[Happened], days: int, order: list[int], moves: Moves
) -> None:
    only_rows = [move for move in moves if move[0] != "refresh"]
    same_rows(world_after(engine, happened, days, order, only_rows), happened)


def sums_are_the_same(
    engine: ClickHouse, happened: list[Happened], days: int, order: list[int], moves: Moves
) -> None:
    world = world_after(engine, happened, days, order, moves)
    same_sums(world, happened, ROLLUPS if days < 7 else ROLLUPS[1:])


DAYS = st.sampled_from((1, 9))
"""How long ago: hours of the first are computed from minutes, those of the other from attempts."""
ORDER = st.lists(st.integers(0, 99), min_size=1, max_size=24)
SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
FEW = (Phase.explicit, Phase.reuse, Phase.generate)
"""Making an example smaller takes minutes: `make proof` does."""


def examples(most: int, phases: Sequence[Phase] = tuple(Phase)) -> settings:
    return settings(max_examples=most, phases=phases, deadline=None, suppress_health_check=SLOW)


@pytest.mark.timeout(180)
@given(WORLDS, DAYS, ORDER, MOVES)
@examples(40, FEW)
def test_any_interleaving_gives_the_same_rows(
    engine: ClickHouse, happened: list[Happened], days: int, order: list[int], moves: Moves
) -> None:
    rows_are_the_same(engine, happened, days, order, moves)


@pytest.mark.timeout(180)
@given(WORLDS, DAYS, ORDER, MOVES)
@examples(6, FEW)
def test_any_interleaving_gives_the_same_sums(
    engine: ClickHouse, happened: list[Happened], days: int, order: list[int], moves: Moves
) -> None:
    sums_are_the_same(engine, happened, days, order, moves)


def test_sums_have_what_began_in_the_last_moment_of_a_minute(engine: ClickHouse) -> None:
    """Alone in its part: an engine that looks at the part's first and last time must not pass over it."""
    sums_are_the_same(engine, [replace(LAST_MOMENT, at_ms=at_ms) for at_ms in (-1, -60_001)], 1, [1], [])


@pytest.mark.proof
@pytest.mark.timeout(3600)
@given(WORLDS, DAYS, ORDER, MOVES)
@examples(2_000)
def test_two_thousand_interleavings_give_the_same_rows(
    engine: ClickHouse, happened: list[Happened], days: int, order: list[int], moves: Moves
) -> None:
    rows_are_the_same(engine, happened, days, order, moves)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@given(WORLDS, DAYS, ORDER, MOVES)
@examples(300)
def test_three_hundred_interleavings_give_the_same_sums(
    engine: ClickHouse, happened: list[Happened], days: int, order: list[int], moves: Moves
) -> None:
    sums_are_the_same(engine, happened, days, order, moves)
