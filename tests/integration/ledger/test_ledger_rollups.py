"""Sums by minute, hour and day against the rows they are of, and against what was generated."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from keyrail.contracts.base import Json, encode_all, new_id, now_ms
from keyrail.contracts.events import AttemptSettled, AttemptStarted
from keyrail.contracts.ledger import CostsQuery, Grouping
from keyrail.contracts.usage import Price, Usage
from keyrail_cost_accounting import blocks, measures
from keyrail_cost_accounting.costs import GROUP_KEY, costs
from keyrail_cost_accounting.ledger import ClickHouse
from keyrail_cost_accounting.rollups import DAY, HOUR, MINUTE, MINUTES_FOR_S, SLACK_S, Rollups, floor
from keyrail_cost_accounting.rows import Rows

AMOUNTS = tuple(name for name in measures.MEASURES if name.endswith("_usd"))
Sums = dict[str, Any]


@dataclass
class World:
    """What happened, and a ledger that is told of it in any order."""

    ledger: ClickHouse
    chance: random.Random
    now: int = field(default_factory=now_ms)
    known: dict[str, AttemptStarted | AttemptSettled] = field(
        default_factory=dict[str, AttemptStarted | AttemptSettled]
    )

    def insert(self, events: Sequence[AttemptStarted | AttemptSettled]) -> None:
        """As the consumer does, in blocks of any size; what is known is the row of the highest rank."""
        for start in range(0, len(events), 40):
            rows = Rows()
            rows.read(encode_all(list(events[start : start + 40])))
            assert not rows.rejected
            block = blocks.encode("attempts", rows.attempts)
            self.ledger.insert("attempts", blocks.COLUMNS["attempts"], block, new_id())
        for event in events:
            if isinstance(event, AttemptSettled):
                self.known[event.started.attempt_id] = event
            else:
                self.known.setdefault(event.attempt_id, event)

    def attempt(self, started_ms: int | None = None) -> tuple[AttemptStarted, AttemptSettled]:
        chance = self.chance
        ages_ms = (90_000, 3 * HOUR * 1000, 30 * HOUR * 1000, 9 * DAY * 1000, 60 * DAY * 1000)
        start = AttemptStarted(
            attempt_id=new_id(),
            request_id=new_id(),
            epoch=1,
            hop=0,
            number=chance.choice((1, 1, 1, 2)),
            tenant=chance.choice(("acme", "other")),
            key_id=chance.choice(("k1", "k2")),
            team=chance.choice((None, "search", "ads")),
            feature=chance.choice((None, "chat")),
            route=chance.choice((None, "fast")),
            strategy="direct",
            revision=1,
            provider=chance.choice(("openai", "groq")),
            model=chance.choice(("m1", "m2")),
            provider_key_id=chance.choice((None, "main")),
            worker="w",
            started_ms=started_ms or self.now - chance.randrange(chance.choice(ages_ms)),
        )
        cost = chance.choice((None, Decimal(chance.randrange(10**9)).scaleb(-12)))
        known = chance.random() < 0.7
        tokens = chance.randrange(5000) if known else None
        return start, AttemptSettled(
            started=start,
            status=chance.choice(("ok", "ok", "failed", "cancelled", "lost")),
            usage=Usage(input_tokens=tokens, output_tokens=tokens, estimated=chance.random() < 0.2),
            price=Price(
                cost_usd=cost,
                uncached_usd=chance.choice((None, Decimal("0.002"))),
                reference_usd=chance.choice((None, Decimal("0.003"))),
            ),
            duration_ms=5,
            settled_ms=start.started_ms + 5,
        )

    def ask(self, query: CostsQuery) -> list[dict[str, Json]]:
        statement = costs(query, now_ms())
        return self.ledger.ask(statement.sql, statement.parameters)

    def age(self) -> None:
        """As if a minute and a half had passed since a refresh that was completed."""
        Rollups(self.ledger).refresh()
        self.ledger.command("TRUNCATE TABLE rollups")
        self.ledger.command(f"INSERT INTO rollups SELECT 'costs', now64(3) + INTERVAL {SLACK_S} SECOND")


@pytest.fixture
def world(ledger: ClickHouse) -> World:
    return World(ledger, random.Random(5))


def truth(events: Iterable[AttemptStarted | AttemptSettled]) -> Sums:
    """Sums in Python, from events alone."""
    sums: Sums = dict.fromkeys(measures.MEASURES, 0) | dict.fromkeys(AMOUNTS, Decimal(0))
    for name in measures.MEASURES:
        if name.endswith("_tokens"):
            sums[name] = None
    for event in events:
        ended = event if isinstance(event, AttemptSettled) else None
        start = ended.started if ended else event
        assert isinstance(start, AttemptStarted)
        price, usage = (ended.price, ended.usage) if ended else (Price(), Usage())
        cost, status = price.cost_usd, ended.status if ended else "running"
        sums["attempts"] += 1
        sums["requests"] += start.number == 1
        sums[status] += 1
        sums["unknown_cost_attempts"] += cost is None
        sums["estimated_attempts"] += usage.estimated
        for name in ("input_tokens", "output_tokens"):
            if (tokens := getattr(usage, name)) is not None:
                sums[name] = (sums[name] or 0) + tokens
        if cost is not None:
            sums["cost_usd"] += cost
            sums["estimated_usd"] += cost if usage.estimated else 0
            sums["failed_usd"] += cost if status not in ("ok", "running") else 0
            sums["retried_usd"] += cost if start.number > 1 else 0
            for name, other in (
                ("cache_saved_usd", price.uncached_usd),
                ("routing_saved_usd", price.reference_usd),
            ):
                sums[name] += 0 if other is None else other - cost
    return sums


def shown(row: Mapping[str, Json]) -> Sums:
    """The sums of a row, amounts as Decimal; a cost that is not known at all counts as nothing."""
    return {
        name: Decimal(str(row[name] or 0)) if name in AMOUNTS else row[name] for name in measures.MEASURES
    }


def start_of(event: AttemptStarted | AttemptSettled) -> AttemptStarted:
    return event.started if isinstance(event, AttemptSettled) else event


def chaos(world: World, attempts: int) -> Iterator[list[AttemptStarted | AttemptSettled]]:
    """Batches: duplicates, disorder, starts without an end and ends whose start never came."""
    events: list[AttemptStarted | AttemptSettled] = []
    for _ in range(attempts):
        start, end = world.attempt()
        events += world.chance.choice(([start, end], [start], [end], [end, start, end], [start, end, start]))
    world.chance.shuffle(events)
    while events:
        size = world.chance.randrange(1, 60)
        batch, events = events[:size], events[size:]
        yield batch
        if world.chance.random() < 0.3:
            yield world.chance.sample(batch, len(batch) // 2)


GROUP_OF: dict[Grouping, Callable[[AttemptStarted], object]] = {
    "model": lambda start: f"{start.model}\n{start.provider}",
    "provider": lambda start: start.provider,
    "team": lambda start: "" if start.team is None else f"={start.team}",
    "feature": lambda start: "" if start.feature is None else f"={start.feature}",
    "route": lambda start: "" if start.route is None else f"={start.route}",
    "key": lambda start: start.key_id,
    "provider_key": lambda start: (
        f"{start.provider}\n" + ("" if start.provider_key_id is None else f"={start.provider_key_id}")
    ),
}


def check(
    world: World, by: Grouping | None, since_ms: int | None, until_ms: int | None, tenant: str | None
) -> None:
    """One question, answered from sums and rows, against the truth."""
    chosen: dict[object, list[AttemptStarted | AttemptSettled]] = defaultdict(list)
    moments = {"day": DAY, "hour": HOUR, "minute": MINUTE}
    rows = world.ask(CostsQuery(by=by, since_ms=since_ms, until_ms=until_ms, tenant=tenant))
    for event in world.known.values():
        start = start_of(event)
        at = start.started_ms
        if tenant in (None, start.tenant) and (since_ms or 0) <= at < (until_ms or 1 << 60):
            group = (
                None
                if by is None
                else GROUP_OF[by](start)
                if by in GROUP_OF
                else floor(at // 1000, moments[by])
            )
            chosen[group].append(event)
    if by is None:
        chosen.setdefault(None, [])
    expected = [truth(events) for _, events in sorted(chosen.items(), key=lambda each: str(each[0]))]
    assert [shown(row) for row in rows] == expected, (by, since_ms, until_ms, tenant)
    if by is not None:
        keys = [row[GROUP_KEY] for row in rows]
        assert keys == sorted(keys, key=str)


def tables_hold_the_truth(world: World) -> None:
    recent = floor(world.now // 1000 - MINUTES_FOR_S, HOUR) + HOUR
    for table, seconds, since in (
        ("costs_minute", MINUTE, recent),
        ("costs_hour", HOUR, 0),
        ("costs_day", DAY, 0),
    ):
        sums = ", ".join(
            f"toString(sum({name})) AS {name}" if name in AMOUNTS else f"sum({name}) AS {name}"
            for name in measures.MEASURES
        )
        groups = "tenant, toUnixTimestamp(bucket) AS at, " + ", ".join(measures.DIMENSIONS)
        rows = world.ledger.ask(
            f"SELECT {groups}, {sums} FROM {table} FINAL WHERE bucket >= {since} GROUP BY ALL HAVING attempts > 0",
            {},
        )
        found = {
            tuple(row[name] for name in ("tenant", "at", *measures.DIMENSIONS)): shown(row) for row in rows
        }
        expected: dict[tuple[object, ...], list[AttemptStarted | AttemptSettled]] = defaultdict(list)
        for event in world.known.values():
            start = start_of(event)
            at = floor(start.started_ms // 1000, seconds)
            if at >= since:
                dimensions = tuple(getattr(start, name) for name in measures.DIMENSIONS)
                expected[start.tenant, at, *dimensions].append(event)
        assert found == {group: truth(events) for group, events in expected.items()}, table


def questions(world: World, count: int) -> None:
    chance = world.chance
    for _ in range(count):
        since = chance.choice((None, world.now - chance.randrange(chance.choice((10**6, 10**8, 8 * 10**9)))))
        until = chance.choice((None, world.now - chance.randrange(chance.choice((10**5, 10**8)))))
        if since is not None and until is not None and until < since:
            since, until = until, since
        by = chance.choice((None, *GROUP_OF, "day", "hour", "minute"))
        check(world, by, since, until, chance.choice((None, "acme")))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sums_by_minute_hour_and_day_are_the_sums_of_what_happened(ledger: ClickHouse, seed: int) -> None:
    world = World(ledger, random.Random(seed))
    for number, batch in enumerate(chaos(world, 250)):
        world.insert(batch)
        if number % 5 == 2:
            Rollups(ledger).refresh()
        elif number % 7 == 3:
            world.age()
        questions(world, 2)
    Rollups(ledger).refresh()
    tables_hold_the_truth(world)
    world.age()
    ledger.command("OPTIMIZE TABLE costs_hour FINAL")
    questions(world, 25)
    check(world, "minute", None, None, None)
