"""A made-up truth of attempts, requests and alerts, and how it gets into a ledger: as events do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from keyrail.contracts.base import Contract
from keyrail.contracts.events import (
    AlertRaised,
    AttemptSettled,
    AttemptStarted,
    RequestFinished,
    RequestRouted,
)
from keyrail.contracts.routing import Candidate
from keyrail.contracts.slips import Facts as Asked
from keyrail.contracts.usage import Price, Usage
from keyrail_cost_accounting.blocks import COLUMNS, encode
from keyrail_cost_accounting.ledger import Ledger
from keyrail_cost_accounting.rollups import Rollups
from keyrail_cost_accounting.rows import Rows

TEAMS = ("search", "O'Brien", "billing", None)
FEATURES = (*(f"feature-{number:02}" for number in range(12)), "summaries", None)
MODELS = (
    ("openai", "gpt-5.4-mini"),
    ("anthropic", "claude-haiku"),
    ("sandbox", "echo"),
    ("openai", "new-model"),
)
UNPRICED = "new-model"
DAY_MS = 86_400_000
KEPT_MS = 89 * DAY_MS
"""Younger than this decisions are surely still there."""


@dataclass
class Facts:
    """Everything that happened; `running` has no settlement yet."""

    settled: list[AttemptSettled] = field(default_factory=list[AttemptSettled])
    running: list[AttemptStarted] = field(default_factory=list[AttemptStarted])
    requests: list[RequestFinished] = field(default_factory=list[RequestFinished])
    alerts: list[AlertRaised] = field(default_factory=list[AlertRaised])
    decisions: list[RequestRouted] = field(default_factory=list[RequestRouted])


def invent(now_ms: int, seed: int = 5) -> Facts:
    """Requests of the last four months, denser the later; the same for the same arguments."""
    chance = random.Random(seed)
    facts = Facts()
    for number in range(900):
        back = DAY_MS * (chance.random() if number % 2 else 125 * chance.random() ** 3)
        _request(facts, chance, now_ms - 5_000 - int(back))
    _race_and_cache(facts, random.Random(seed))
    _decide(facts, random.Random(seed), now_ms - KEPT_MS)
    for number, kind in enumerate(("budget-soft", "budget-hard", "key-auth", "key-money") * 4):
        at = now_ms - 1_000 - int(DAY_MS * 20 * chance.random() * (number > 3))
        facts.alerts.append(
            AlertRaised(
                alert_id=f"{kind}-{number}", kind=kind, tenant=("default", "other")[number % 2],
                subject=f"team.search/{number}", detail="of 20 US dollars a day, 20 are spent",
                raised_by="router", raised_ms=at,
            )
        )  # fmt: skip
    return facts


def _request(facts: Facts, chance: random.Random, at: int) -> None:
    request_id = str(UUID(int=chance.getrandbits(128)))
    team, feature = chance.choice(TEAMS), chance.choice(FEATURES)
    tenant, key = chance.choice((("default", "k1"), ("default", "k2"), ("other", "k3")))
    attempts, status, dispatches = chance.choices((1, 2, 3), (8, 2, 1))[0], "ok", chance.choice((1, 1, 1, 2))
    took = 0
    for number in range(1, attempts + 1):
        provider, model = chance.choice(MODELS)
        started = AttemptStarted(
            attempt_id=str(UUID(int=chance.getrandbits(128))), request_id=request_id, epoch=1, hop=number - 1,
            tenant=tenant, key_id=key, team=team, feature=feature, provider=provider, model=model,
            route=chance.choice(("chat", "trial", None)), revision=1,
            strategy=chance.choice(("fallback", "weighted", "direct")),
            provider_key_id=chance.choice(("main", "spare", None)), worker="w1", started_ms=at + took,
            received_ms=at, number=number,
        )  # fmt: skip
        if chance.random() < 0.02:
            facts.running.append(started)
            return
        settled = _settled(chance, started, last=number == attempts)
        status = settled.status
        took += settled.duration_ms
        facts.settled.append(settled)
    facts.requests.append(
        RequestFinished(
            request_id=request_id, tenant=tenant, key_id=key, team=team, feature=feature, model="chat",
            dialect="openai-chat", stream=False, status="ok" if status == "ok" else "failed",
            http_status=200 if status == "ok" else 502, dispatches=dispatches, ingress="i1", received_ms=at,
            first_byte_ms=took // 2, duration_ms=took,
        )
    )  # fmt: skip


def _race_and_cache(facts: Facts, chance: random.Random) -> None:
    """Some attempts of routes raced, some were answered out of the cache."""
    for number, each in enumerate(facts.settled):
        started, price = each.started, each.price
        if started.route is None:
            continue
        reference = chance.choice((f"{started.provider}/{started.model}", "openai/gpt-5.4", None))
        changes: dict[str, object] = {"started": started.replace(reference=reference)}
        what = chance.random()
        if what < 0.4:
            role = chance.choice(("race", "hedge"))
            basis = (
                chance.choice(("exact", "estimated", "assumed_full")) if price.cost_usd is not None else None
            )
            changes = {
                "started": started.replace(reference=reference, role=role),
                "standing": chance.choice(("won", "lost")),
                "price": price.replace(basis=basis),
            }
        elif what < 0.7 and price.cost_usd is not None and each.status == "ok":
            saved = chance.choice((price.cost_usd, None))
            changes["price"] = price.replace(cost_usd=Decimal(0), source="cache", uncached_usd=saved)
        facts.settled[number] = each.replace(**changes)


def _decide(facts: Facts, chance: random.Random, since_ms: int) -> None:
    """A decision for the first attempt of each request that asked for a route; some were refused."""
    gates = ("breaker", "limits", "tools", None, None)
    for each in [*(settled.started for settled in facts.settled), *facts.running]:
        if each.number != 1 or each.route is None or each.started_ms < since_ms:
            continue
        candidates = tuple(
            Candidate(target=f"{provider}/{model}", gate=chance.choice(gates)) for provider, model in MODELS
        )
        refused = chance.random() < 0.1
        facts.decisions.append(
            RequestRouted(
                request_id=each.request_id, epoch=0, tenant=each.tenant, key_id=each.key_id, team=each.team,
                feature=each.feature, route=each.route, strategy=each.strategy, revision=1,
                targets=() if refused else (f"{each.provider}/{each.model}", "openai/other"),
                candidates=candidates, code="any", reason="it's one", facts=Asked(model=each.route),
                router="r1", routed_ms=each.started_ms, failure="unavailable" if refused else None,
            )
        )  # fmt: skip


def _settled(chance: random.Random, started: AttemptStarted, *, last: bool) -> AttemptSettled:
    status = chance.choices(("ok", "failed", "cancelled"), (9, 1, 1))[0] if last else "failed"
    billed = status != "failed" or chance.random() < 0.6
    tokens = chance.randrange(50, 4000)
    usage, price = Usage(), Price()
    if billed:
        read = chance.choice((0, tokens // 2))
        usage = Usage(
            input_tokens=tokens, output_tokens=tokens // 3, cache_read_tokens=read,
            cache_write_tokens=chance.choice((0, tokens // 4)), reasoning_tokens=tokens // 9,
            estimated=chance.random() < 0.1,
        )  # fmt: skip
    if billed and started.model != UNPRICED:
        cost = Decimal(chance.randrange(1, 10**12)).scaleb(-12)
        reference = cost + Decimal(chance.randrange(-(10**9), 10**11)).scaleb(-12)
        price = Price(
            cost_usd=cost,
            source="catalogue",
            version="v1",
            uncached_usd=cost * chance.choice((1, 2)) if usage.cache_read_tokens else None,
            reference_usd=reference if started.route else None,
        )
    duration = chance.randrange(30, 9000)
    return AttemptSettled(
        started=started, status=status, failure="capacity" if status == "failed" else None, usage=usage,
        price=price, http_status=200 if status == "ok" else 503,
        first_byte_ms=duration // 4 if billed else None, first_content_ms=duration // 3 if billed else None,
        duration_ms=duration, settled_ms=started.started_ms + duration,
    )  # fmt: skip


def write(ledger: Ledger, facts: Facts) -> None:
    """Insert it all as events: starts first, some deliveries twice, in several batches."""
    starts = [*(each.started for each in facts.settled), *facts.running]
    later = [*facts.settled, *facts.requests, *facts.alerts, *facts.decisions]
    for number, events in enumerate((starts, later, later[::3], starts[::7])):
        _insert(ledger, events, f"facts-{number}")


def _insert(ledger: Ledger, events: Sequence[Contract], token: str) -> None:
    rows = Rows()
    rows.read(b"[" + b",".join(event.encode() for event in events) + b"]")
    assert not rows.rejected
    for table, found in (
        ("attempts", rows.attempts),
        ("requests", rows.requests),
        ("alerts", rows.alerts),
        ("decisions", rows.decisions),
    ):
        if found:
            ledger.insert(table, COLUMNS[table], encode(table, found), f"{token}-{table}")


def roll_up(ledger: Ledger) -> None:
    """Bring the sums up to date, as cost-accounting does."""
    Rollups(ledger).refresh()
