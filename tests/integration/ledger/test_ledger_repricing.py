"""Rows of a real engine priced again, and elsewhere: what changes is what was shown, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest

from keyrail.contracts.base import Json, encode_all, new_id
from keyrail.contracts.config import ConfigView, ModelPrice, ProviderConfig
from keyrail.contracts.events import AttemptSettled, AttemptStarted
from keyrail.contracts.repricing import RepriceQuery, WhatIfQuery
from keyrail.contracts.slips import Target
from keyrail.contracts.usage import Price, Usage
from keyrail_cost_accounting import slices, vectors
from keyrail_cost_accounting.blocks import encode
from keyrail_cost_accounting.ledger import ClickHouse, LedgerUnavailable
from keyrail_cost_accounting.rows import ATTEMPT_COLUMNS, Rows
from keyrail_cost_accounting.slices import Slices

BEGIN = 1_790_000_000_000
END = BEGIN + 86_400_000
MILLION = Decimal(1_000_000)
_tokens = itertools.count()


def view(revision: int, **prices: tuple[int, int]) -> ConfigView:
    """Prices in US dollars per million tokens, by the model's name."""
    given = {model: ModelPrice(input=Decimal(i), output=Decimal(o)) for model, (i, o) in prices.items()}
    mine = ProviderConfig(name="mine", base_url="http://127.0.0.1:1", prices=given)
    return ConfigView(revision=revision, providers={"mine": mine})


def attempt(at: int, model: str = "a", cost: str | None = "1", **changes: object) -> AttemptSettled:
    """Settled, at `BEGIN + at` ms; 100 tokens in, 10 out, nothing cached."""
    usd = None if cost is None else Decimal(cost)
    of_start = {"provider", "reference", "route", "team", "tenant", "attempt_id"}
    start = {
        "attempt_id": new_id(), "request_id": new_id(), "epoch": 1, "hop": 0, "tenant": "acme",
        "key_id": "k1", "strategy": "direct", "revision": 1, "provider": "mine", "model": model,
        "worker": "w",
        "started_ms": BEGIN + at, "received_ms": BEGIN + at, "router": "r", "held_usd": "0.5", "number": 2,
    } | {name: value for name, value in changes.items() if name in of_start}  # fmt: skip
    values: dict[str, object] = {
        "started": msgspec.convert(start, AttemptStarted, strict=False),
        "status": "ok",
        "http_status": 200,
        "finish": "stop",
        "upstream_id": "up",
        "usage": Usage(input_tokens=100, output_tokens=10, raw={"prompt_tokens": 100}),
        "price": Price(cost_usd=usd, source="configured", version="1", uncached_usd=usd),
        "first_byte_ms": 7,
        "duration_ms": 1_200,
        "settled_ms": BEGIN + at + 1_200,
    } | {name: value for name, value in changes.items() if name not in of_start}
    return msgspec.convert(values, AttemptSettled)


def insert(ledger: ClickHouse, *events: AttemptSettled | AttemptStarted) -> None:
    """As cost-accounting does with what it consumes."""
    rows = Rows()
    rows.read(encode_all(list(events)))
    assert not rows.rejected
    ledger.insert("attempts", ATTEMPT_COLUMNS, encode("attempts", rows.attempts), f"t{next(_tokens)}")


def rows(ledger: ClickHouse) -> dict[str, dict[str, Json]]:
    found = ledger.ask("SELECT * FROM attempts FINAL", {})
    return {str(row["attempt_id"]): row for row in found}


def total(ledger: ClickHouse, where: str = "1") -> Decimal:
    (row,) = ledger.ask(f"SELECT toString(sum(cost_usd)) AS usd FROM attempts FINAL WHERE {where}", {})
    return Decimal(str(row["usd"] or 0))


def shown(service: Slices, **about: Any) -> list[tuple[RepriceQuery, str, dict[str, Any]]]:
    """All slices of a dry run: the question, where it ended, and what it said."""
    query = msgspec.convert({"kind": "reprice", "since_ms": BEGIN, "until_ms": END} | about, RepriceQuery)
    found: list[tuple[RepriceQuery, str, dict[str, Any]]] = []
    while True:
        page = service.reprice(query)
        assert page.error is None
        if page.cursor is None:
            return found
        found.append((query, page.cursor, cast("dict[str, Any]", page.rows[0])))
        query = query.replace(cursor=page.cursor)


def written(
    service: Slices, plan: Sequence[tuple[RepriceQuery, str, Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    pages = [
        service.reprice(query.replace(to=end, digest=row["digest"], write=True)) for query, end, row in plan
    ]
    assert [page.error for page in pages] == [None] * len(pages)
    return [cast("dict[str, Any]", page.rows[0]) for page in pages]


def added(plan: Sequence[tuple[RepriceQuery, str, Mapping[str, Any]]], name: str) -> Decimal:
    return sum((Decimal(model[name]) for _, _, row in plan for model in row["models"]), Decimal(0))


def test_only_wrong_rows_change_and_in_them_only_their_price(ledger: ClickHouse) -> None:
    wrong = attempt(1, cost="9", reference="mine/b", team="t")
    right = attempt(2, cost="0.00012")
    reported = attempt(3, price=Price(cost_usd=Decimal(3), source="provider"))
    sandbox = attempt(4, provider="sandbox", price=Price(cost_usd=Decimal(0), source="sandbox"))
    free = attempt(5, status="failed", price=Price(cost_usd=Decimal(0), source="not-billed"))
    silent = attempt(6, cost=None, usage=Usage())
    unknown = attempt(7, cost=None, status="cancelled", price=Price())
    elsewhere = attempt(8, provider="other", cost="4")
    running = attempt(9).started
    insert(ledger, wrong, right, reported, sandbox, free, silent, unknown, elsewhere, running)
    before = rows(ledger)
    service = Slices(ledger, lambda: view(5, a=(1, 2), b=(10, 20)))

    plan = shown(service, provider="mine")
    (row,) = [row for _, _, row in plan]
    (model,) = row["models"]
    assert (row["revision"], model["attempts"], model["changed"]) == (5, 3, 2)
    assert (Decimal(model["old_usd"]), Decimal(model["new_usd"])) == (Decimal("9.00012"), Decimal("0.00036"))
    assert (model["newly_known"], model["newly_unknown"]) == (1, 0)
    assert rows(ledger) == before

    assert [each["written"] for each in written(service, plan)] == [2]
    after = rows(ledger)
    changed = {id for id in after if after[id] != before[id]}
    assert changed == {wrong.started.attempt_id, unknown.started.attempt_id}
    new, old = after[wrong.started.attempt_id], before[wrong.started.attempt_id]
    differ = {name for name in new if new[name] != old[name]}
    assert differ - {"uncached_usd"} == {"rank", "cost_usd", "price_version", "reference_usd"}
    assert (new["rank"], new["cost_usd"], new["price_source"], new["price_version"]) == (
        3, 0.00012, "configured", "5",
    )  # fmt: skip
    assert new["reference_usd"] == 0.0012


def test_the_sums_shown_are_those_of_the_ledger_before_and_after(
    ledger: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over many slices, several attempts in each millisecond, and duplicates of what is in them."""
    monkeypatch.setattr(vectors, "SLICE", 7)
    monkeypatch.setattr(slices, "SLICE", 7)
    events = [
        attempt(at // 5, model="ab"[at % 2], cost="0.5" if at % 3 else "0.00012", tenant=f"t{at % 4}")
        for at in range(60)
    ]
    insert(ledger, *events)
    insert(ledger, *events[10:30])
    service = Slices(ledger, lambda: view(2, a=(1, 2), b=(10, 20)))

    plan = shown(service)
    assert len(plan) >= 8
    assert added(plan, "attempts") == 60
    assert added(plan, "old_usd") == total(ledger)
    done = written(service, plan)
    assert sum(each["written"] for each in done) == added(plan, "changed") > 30
    assert added(plan, "new_usd") == total(ledger) == 30 * (Decimal("0.00012") + Decimal("0.0012"))

    insert(ledger, *events)  # delivered again, as settled events are: rank 2
    assert added(plan, "new_usd") == total(ledger)
    assert added(shown(service), "changed") == 0


def test_prices_that_changed_after_they_were_shown_are_not_written(ledger: ClickHouse) -> None:
    insert(ledger, attempt(1), attempt(2))
    terms = [view(2, a=(1, 2))]
    service = Slices(ledger, lambda: terms[0])
    plan = shown(service)
    before = rows(ledger)

    terms[0] = view(3, a=(5, 5))
    assert [(each["stale"], each["written"]) for each in written(service, plan)] == [(True, 0)]
    assert rows(ledger) == before
    terms[0] = view(4, a=(1, 2))  # says the same as what was shown
    assert [(each["stale"], each["written"]) for each in written(service, plan)] == [(False, 2)]
    assert {str(row["price_version"]) for row in rows(ledger).values()} == {"4"}


def test_attempts_that_came_after_they_were_shown_are_left_alone(ledger: ClickHouse) -> None:
    insert(ledger, attempt(1), attempt(5))
    service = Slices(ledger, lambda: view(2, a=(1, 2)))
    plan = shown(service)
    insert(ledger, late := attempt(3))
    assert [each["stale"] for each in written(service, plan)] == [True]
    insert(ledger, attempt(9))
    assert sum(each["written"] for each in written(service, shown(service))) == 4
    assert rows(ledger)[late.started.attempt_id]["rank"] == 3


class Dying:
    """A ledger that takes so many more blocks."""

    def __init__(self, ledger: ClickHouse, left: int) -> None:
        self._ledger = ledger
        self.left = left

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        if not self.left:
            raise LedgerUnavailable("killed")
        self.left -= 1
        self._ledger.insert(table, columns, block, token)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


def test_what_was_interrupted_is_done_by_running_it_again(
    ledger: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the second of three slices."""
    monkeypatch.setattr(vectors, "SLICE", 10)
    monkeypatch.setattr(slices, "SLICE", 10)
    insert(ledger, *(attempt(at) for at in range(30)))
    now = view(2, a=(1, 2))
    dying = Slices(cast("Any", Dying(ledger, 1)), lambda: now)
    with pytest.raises(LedgerUnavailable):
        written(dying, shown(dying))
    assert [row["rank"] for row in rows(ledger).values()].count(3) == 10

    service = Slices(ledger, lambda: now)
    assert sum(each["written"] for each in written(service, shown(service))) == 20
    assert [(row["rank"], row["cost_usd"]) for row in rows(ledger).values()] == [(3, 0.00012)] * 30


def test_two_who_write_the_same_write_it_once(ledger: ClickHouse) -> None:
    insert(ledger, *(attempt(at) for at in range(5)))
    one, two = (Slices(ledger, lambda: view(2, a=(1, 2))) for _ in range(2))
    both = shown(one), shown(two)
    assert [each["written"] for each in written(one, both[0])] == [5]
    assert [(each["stale"], each["written"]) for each in written(two, both[1])] == [(False, 0)]
    assert all(row["rank"] == 3 for row in rows(ledger).values())


def test_a_row_that_was_priced_again_can_be_once_more(ledger: ClickHouse) -> None:
    insert(ledger, attempt(1))
    for revision, price in ((2, 1), (3, 7), (4, 1)):
        service = Slices(ledger, lambda r=revision, p=price: view(r, a=(p, p)))
        written(service, shown(service))
    (row,) = rows(ledger).values()
    assert (row["rank"], row["cost_usd"], row["price_version"]) == (5, 0.00011, "4")


def test_prices_that_are_gone_make_costs_unknown_and_it_is_shown(ledger: ClickHouse) -> None:
    insert(ledger, attempt(1), attempt(2, model="b"))
    service = Slices(ledger, lambda: view(2, b=(1, 2)))
    plan = shown(service)
    told = {model["model"]: model for _, _, row in plan for model in row["models"]}
    assert (told["a"]["newly_unknown"], Decimal(told["a"]["new_usd"])) == (1, 0)
    written(service, plan)
    assert {(row["model"], row["cost_usd"], row["price_source"]) for row in rows(ledger).values()} == {
        ("a", None, None),
        ("b", 0.00012, "configured"),
    }


def test_while_the_prices_are_not_known_nothing_is_priced(ledger: ClickHouse) -> None:
    service = Slices(ledger, lambda: None)
    assert "not known yet" in str(service.reprice(RepriceQuery(since_ms=0, until_ms=END)).error)
    assert "not known yet" in str(service.what_if(WhatIfQuery(since_ms=0, until_ms=END)).error)


def traffic() -> list[AttemptSettled]:
    """Of all kinds that make a difference."""
    return [
        attempt(
            at,
            model="ab"[at % 2],
            provider="other" if at % 5 == 0 else "mine",
            cost=None if at % 7 == 0 else f"0.0{at}",
            route="fast" if at % 3 else "slow",
            usage=Usage(
                input_tokens=1_000 + at,
                output_tokens=at,
                cache_read_tokens=500 + at if at % 4 == 0 else None,
                searches=1 if at % 10 == 0 else None,
                served_tier="strange" if at % 5 == 0 else None,
                raw={"cost": 77} if at % 5 == 0 else None,
            ),
        )
        for at in range(50)
    ]


def by_hand(events: Sequence[AttemptSettled], names: Sequence[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The route `fast` at 3 dollars a million in, 1 from the cache, 30 out."""
    wanted: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        if event.started.route != "fast":
            continue
        key = event.started.provider, event.started.model
        its = wanted.setdefault(key, dict.fromkeys(names, Decimal(0)))
        usage, actual = event.usage, event.price.cost_usd
        tokens, read = usage.input_tokens or 0, usage.cache_read_tokens or 0
        its["attempts"] += 1
        its["unknown_actual"] += actual is None
        its["searches"] += bool(usage.searches) and key[0] != "mine"
        if actual is not None:
            its["compared"] += 1
            its["actual_usd"] += actual
            answer = 30 * (usage.output_tokens or 0)
            its["what_if_usd"] += (3 * (tokens - read) + read + answer) / MILLION
            its["no_cache_usd"] += (3 * tokens + answer) / MILLION
    return wanted


def test_what_if_agrees_with_a_computation_of_its_own(
    ledger: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "SLICE", 9)
    monkeypatch.setattr(slices, "SLICE", 9)
    events = traffic()
    insert(
        ledger, *events, attempt(3, status="failed", price=Price(cost_usd=Decimal(0), source="not-billed"))
    )
    before = rows(ledger)
    target = ModelPrice(input=Decimal(3), output=Decimal(30), cache_read=Decimal(1))
    there = ProviderConfig(name="mine", base_url="http://127.0.0.1:1", prices={"c": target})
    query = WhatIfQuery(
        since_ms=BEGIN,
        until_ms=END,
        model=Target(provider="mine", model="c"),
        terms={"mine": there},
        route="fast",
    )
    service = Slices(ledger, lambda: view(2))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    names = (
        "attempts",
        "compared",
        "unknown_actual",
        "searches",
        "actual_usd",
        "what_if_usd",
        "no_cache_usd",
    )
    while (page := service.what_if(query)).cursor is not None:
        for model in cast("Any", page.rows[0])["models"]:
            its = found.setdefault((model["provider"], model["model"]), dict.fromkeys(names, Decimal(0)))
            for name in names:
                its[name] += Decimal(model[name])
        query = query.replace(cursor=page.cursor)

    assert found == by_hand(events, names)
    assert rows(ledger) == before


def test_columns_of_another_release_are_not_lost(ledger: ClickHouse) -> None:
    insert(ledger, attempt(1))
    service = Slices(ledger, lambda: view(2, a=(1, 2)))
    plan = shown(service)
    ledger.command("ALTER TABLE attempts ADD COLUMN later Nullable(String)")
    try:
        with pytest.raises(LedgerUnavailable, match="another release"):
            written(service, plan)
    finally:
        ledger.command("ALTER TABLE attempts DROP COLUMN later")
    assert [each["written"] for each in written(service, plan)] == [1]


def test_traffic_with_long_pauses_is_found_slice_by_slice(
    ledger: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minutes, hours, days and weeks apart."""
    monkeypatch.setattr(vectors, "SLICE", 3)
    monkeypatch.setattr(slices, "SLICE", 3)
    hour = 3_600_000
    at = [0, 1, 2, 5, hour, 2 * hour, 3 * hour, 50 * hour, 100 * hour, 400 * hour, 900 * hour, 900 * hour]
    insert(ledger, *(attempt(each) for each in at))
    service = Slices(ledger, lambda: view(2, a=(1, 2)))
    plan = shown(service, until_ms=BEGIN + 1_000 * hour)
    assert (added(plan, "attempts"), len(plan)) == (len(at), 4)
