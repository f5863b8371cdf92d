"""Sums by minute, hour and day against the rows they are of, and against what was generated."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keyrail.contracts.base import Json, encode_all, new_id, now_ms
from keyrail.contracts.events import AttemptSettled, AttemptStarted
from keyrail.contracts.ledger import CostsQuery, Grouping
from keyrail.contracts.usage import Price, Usage
from keyrail_cost_accounting import blocks, measures
from keyrail_cost_accounting.costs import GROUP_KEY, costs
from keyrail_cost_accounting.ledger import ClickHouse, Parameter, open_ledger
from keyrail_cost_accounting.queries import lost
from keyrail_cost_accounting.rollups import DAY, HOUR, MINUTE, MINUTES_FOR_S, SLACK_S, Rollups, floor
from keyrail_cost_accounting.rows import Rows

pytestmark = pytest.mark.timeout(180)  # each statement is small, but there are hundreds
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
        ages_ms = (90_000, 3 * HOUR * 1000, 30 * HOUR * 1000, 9 * DAY * 1000, 20 * DAY * 1000)
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
            f"SELECT {groups}, {sums} FROM {table} FINAL WHERE bucket >= {since}"
            " GROUP BY ALL HAVING attempts > 0",
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


@pytest.mark.parametrize("seed", [1, 2])
def test_sums_by_minute_hour_and_day_are_the_sums_of_what_happened(ledger: ClickHouse, seed: int) -> None:
    world = World(ledger, random.Random(seed))
    for number, batch in enumerate(chaos(world, 45)):
        world.insert(batch)
        if number % 5 == 2:
            Rollups(ledger).refresh()
        elif number % 7 == 3:
            world.age()
        questions(world, 1)
    Rollups(ledger).refresh()
    tables_hold_the_truth(world)
    world.age()
    ledger.command("OPTIMIZE TABLE costs_hour FINAL")
    questions(world, 8)
    check(world, "minute", None, None, None)


def test_a_late_row_into_an_old_minute_is_in_all_sums(world: World) -> None:
    """Too old for the table of minutes: its whole hour comes from the rows."""
    hour = floor(world.now // 1000 - 20 * DAY, HOUR) * 1000
    _, first = world.attempt(hour + 60_000)
    world.insert([first])
    world.age()
    start, late = world.attempt(hour + 1_800_000)

    world.insert([start])
    check(world, "team", None, None, None)
    world.age()
    world.insert([late])
    check(world, "team", None, None, None)
    world.age()

    check(world, "team", None, None, None)
    check(world, "hour", hour - 10, hour + 3_599_999, None)
    tables_hold_the_truth(world)
    assert world.ledger.ask("SELECT count() AS n FROM costs_minute", {}) == [{"n": 0}]


def test_rows_that_the_ledger_writes_itself_are_new(world: World) -> None:
    start, end = world.attempt(world.now - 5 * HOUR * 1000)
    world.insert([start, world.attempt()[1]])
    world.age()

    settled = lost([start.attempt_id], now_ms())
    world.ledger.command(settled.sql, settled.parameters)

    (sums,) = world.ask(CostsQuery(until_ms=world.now - 4 * HOUR * 1000))
    assert (sums["lost"], sums["running"], sums["attempts"]) == (1, 0, 1)
    world.age()
    (sums,) = world.ledger.ask("SELECT sum(lost) AS lost, sum(running) AS running FROM costs_day FINAL", {})
    assert sums["running"] == 0
    world.insert([end])
    check(world, None, None, None, None)


def test_a_group_that_a_minute_has_no_more_is_in_no_sum(world: World) -> None:
    start, end = world.attempt(world.now - 5 * HOUR * 1000)
    world.insert([start])
    world.age()
    moved = start.replace(provider_key_id="elsewhere")

    world.insert([end.replace(started=moved)])

    for _ in range(2):
        check(world, "provider_key", None, None, None)
        check(world, None, None, None, None)
        world.age()
    tables_hold_the_truth(world)


class Killed(Exception):
    """The process is gone."""


@dataclass
class Mortal:
    """A ledger whose process is killed before its nth statement."""

    inner: ClickHouse
    statements: int

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        raise AssertionError("sums are computed by the engine")

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        self._live()
        return self.inner.ask(sql, parameters)

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        self._live()
        self.inner.command(sql, parameters)

    def _live(self) -> None:
        self.statements -= 1
        if self.statements < 0:
            raise Killed


def test_a_refresh_that_is_killed_between_any_two_statements_loses_nothing(world: World) -> None:
    old = world.now - 30 * DAY * 1000
    points = 0
    while True:
        world.insert([world.attempt()[1], world.attempt(old + points)[1], world.attempt(world.now - 5000)[1]])
        try:
            Rollups(Mortal(world.ledger, points)).refresh()
        except Killed:
            points += 1
            questions(world, 1)
            check(world, "day", None, None, None)
        else:
            break
    world.age()
    tables_hold_the_truth(world)
    check(world, "day", None, None, None)
    assert points >= 6, "it was killed before each of its statements"


def test_several_refresh_insert_and_ask_at_once(world: World, directory: Path) -> None:
    """Every answer is a state that the ledger had: never less than what was in it before, never twice."""
    for batch in chaos(world, 20):
        world.insert(batch)
    world.age()
    batches = [[world.attempt(world.now - 10 * MINUTE * 1000 * n)[1] for _ in range(3)] for n in range(10)]
    others = [open_ledger(str(directory)) for _ in range(2)]
    done = threading.Event()

    def refresh(ledger: ClickHouse) -> None:
        while not done.is_set():
            Rollups(ledger).refresh()

    threads = [threading.Thread(target=refresh, args=(each,)) for each in others]
    for thread in threads:
        thread.start()
    try:
        for number, batch in enumerate(batches):
            world.insert(batch)
            check(world, "provider" if number % 2 else None, None, None, None)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        for each in others:
            each.close()
    world.age()
    tables_hold_the_truth(world)
    check(world, "hour", None, None, None)


def test_what_is_dirty_is_found_once_for_a_whole_statement(world: World) -> None:
    """Found for each part of it, a row that comes in between would put its minute into two parts, or none."""
    statement = costs(CostsQuery(), world.now)
    (row,) = world.ledger.ask(
        "WITH (SELECT groupArray(generateUUIDv4()) FROM numbers(3)) AS dirty,"
        " arrayMap(x -> toString(x), dirty) AS texts"
        " SELECT uniqExact(text) AS n FROM ("
        "SELECT toString(arrayJoin(dirty)) AS text UNION ALL SELECT arrayJoin(texts)"
        " UNION ALL SELECT text FROM (SELECT toString(x) AS text FROM (SELECT arrayJoin(dirty) AS x)))",
        {},
    )
    assert row["n"] == 3
    assert statement.sql.count("inserted_at") == 1


def test_a_rebuild_makes_sums_anew(world: World) -> None:
    for batch in chaos(world, 60):
        world.insert(batch)
    world.age()
    for table in ("costs_minute", "costs_hour", "costs_day"):
        world.ledger.command(f"TRUNCATE TABLE {table}")

    rebuilt = Rollups(world.ledger).rebuild(0)

    assert rebuilt == len({start_of(event).started_ms // 60_000 for event in world.known.values()})
    tables_hold_the_truth(world)
    questions(world, 5)


def test_a_refresh_that_has_nothing_to_do_does_nothing(world: World) -> None:
    assert Rollups(world.ledger).refresh() == 0
    world.insert([world.attempt()[1]])
    world.age()

    assert Rollups(Mortal(world.ledger, 1)).refresh() == 0
