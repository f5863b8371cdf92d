"""The exact cache: before a call, is there an answer already; after it, may this one be given again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal

from keyrail.bus.connection import Bus
from keyrail.bus.entries import Entries
from keyrail.caching import eligible, entry, fold
from keyrail.caching import key as keys
from keyrail.caching.eligible import Reason
from keyrail.caching.entry import Entry
from keyrail.contracts import streams, subjects
from keyrail.contracts.base import new_id, now_ms
from keyrail.contracts.config import ProviderConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import CacheRule, Dialect, Slip
from keyrail.contracts.usage import Price
from keyrail.dialects import registry
from keyrail.dialects.canonical.answer import Answer
from keyrail.providers import endpoint
from keyrail.telemetry import metrics
from keyrail_provider_worker.caching.flights import Flights
from keyrail_provider_worker.caching.shelf import Shelf
from keyrail_provider_worker.caching.turn import Hit, Tape, Turn

log = logging.getLogger(__name__)

SMALL = 32 * 1024
"""Bytes of a request that is looked at between two others; a larger one is in a thread of its own."""


class Cache:
    """For attempts whose plan has a rule; the others never come here."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        entries = Entries(bus, streams.CACHE.name)
        self._shelf = Shelf(entries)
        self._flights = Flights(entries, self._shelf)
        self._keeping: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Find the bucket, and hear of purges."""
        await self._shelf.open()
        await self._bus.subscribe(subjects.CACHE_PURGED, self._shelf.on_purged)

    async def stop(self) -> None:
        """Return once what is to be kept is, and nobody waits for this worker."""
        while self._keeping:
            await asyncio.wait(self._keeping)
        await self._shelf.close()
        await self._flights.close()

    async def open(self, slip: Slip, body: bytes, config: ProviderConfig) -> Turn:
        """What is there for this attempt. Waits for another one's answer, and for the bus a moment only.

        Once a turn `leads`, `close` has to be called. CancelledError before that leaves nothing behind.
        """
        turn = await self._turn(slip, body, config)
        metrics.counter(metrics.CACHE, turn.state, turn.reason or "").inc()
        if turn.hit is not None and turn.hit.entry.cost_usd is not None:
            metrics.CACHE_SAVED_USD.inc(float(turn.hit.entry.cost_usd))
        return turn

    def close(self, turn: Turn, slip: Slip, price: Price | None, answer: bytes | None) -> None:
        """The attempt is over. `price` None: it failed. `answer`: what a client got that streams nothing."""
        if turn.tape is None:
            return
        if price is None:
            metrics.counter(metrics.CACHE_KEPT, "failed").inc()
            if turn.leads:
                self._flights.failed(turn.name)
            return
        task = asyncio.create_task(self._keep(turn, slip, price.cost_usd, answer))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _turn(self, slip: Slip, body: bytes, config: ProviderConfig) -> Turn:
        assert slip.plan is not None
        assert slip.plan.cache is not None
        rule = slip.plan.cache
        spoken = endpoint.spoken(config, slip.facts.dialect)
        if slip.role == "continue":  # a whole answer is not the rest of one
            return Turn("bypass", rule, spoken, reason="role")
        if len(body) <= SMALL:
            looked = _looked(rule, slip, body, spoken)
        else:
            looked = await asyncio.to_thread(_looked, rule, slip, body, spoken)
        if isinstance(looked, str):
            return Turn("bypass", rule, spoken, reason=looked)
        asked, name = looked

        def hit(packed: bytes | None) -> Hit | None:
            return _hit(packed, rule, slip, asked)

        if rule.mode in ("on", "read"):
            found = hit(await self._shelf.find(name))
            if found is not None:
                return Turn("hit", rule, spoken, name, hit=found)
        if rule.mode == "read" or slip.role != "serve":
            return Turn("miss", rule, spoken, name)
        if rule.mode == "write":
            return Turn("miss", rule, spoken, name, tape=Tape())
        return await self._board(Turn("miss", rule, spoken, name, tape=Tape()), hit)

    async def _board(self, turn: Turn, hit: Callable[[bytes | None], Hit | None]) -> Turn:
        outcome = await self._flights.board(turn.name)
        if isinstance(outcome, bytes):
            found = hit(outcome)
            if found is not None:
                return Turn("hit", turn.rule, turn.spoken, turn.name, hit=found)
        turn.leads = outcome == "lead"
        return turn

    async def _keep(self, turn: Turn, slip: Slip, cost_usd: Decimal | None, body: bytes | None) -> None:
        outcome: str | bytes = "failed"
        try:
            outcome = await asyncio.to_thread(_packed, turn, slip, cost_usd, body)
        except Exception as error:  # noqa: BLE001 - the edge of one answer that the client already has
            # its class alone: an error of a codec may show what it was given
            log.error("an answer was not kept", extra={"error": type(error).__name__})
        if isinstance(outcome, bytes):
            written = self._shelf.put(turn.name, outcome, turn.rule.ttl_s)
            metrics.counter(metrics.CACHE_KEPT, "kept").inc()
            if turn.leads:
                self._flights.landed(turn.name, outcome, written)
            return
        metrics.counter(metrics.CACHE_KEPT, outcome).inc()
        if turn.leads:
            self._flights.unfit(turn.name)


def _looked(rule: CacheRule, slip: Slip, body: bytes, spoken: Dialect) -> tuple[keys.Asked, str] | Reason:
    """What is asked and its entry's name, or why there is none. Milliseconds for a large body."""
    asked = _read(slip, body)
    if isinstance(asked, str):
        return asked
    reason = eligible.refused(rule, slip, asked)
    if reason is not None:
        return reason
    return asked, f"{slip.tenant}.{keys.key(asked, slip.tenant, slip.target, spoken, slip.passed)}"


def _read(slip: Slip, body: bytes) -> keys.Asked | Reason:
    if slip.facts.operation != "generate":
        return "operation"
    if len(body) > eligible.MOST_REQUEST:
        return "large"
    try:
        return keys.read(body, slip.facts.dialect)
    except ValueError:
        return "foreign"


def _hit(packed: bytes | None, rule: CacheRule, slip: Slip, asked: keys.Asked) -> Hit | None:
    """The entry where it is fresh enough for this request; one that can't be read is none."""
    if packed is None:
        return None
    now = now_ms()
    try:
        found = Entry.unpack(packed)
        if now >= found.expires_ms or now - found.made_ms > rule.ttl_s * 1000:
            return None
        id = new_id().replace("-", "")
        return Hit(found, entry.rendered(found, slip.facts, asked.body, id=id, now_ms=now))
    except ValueError as error:
        log.warning("a kept answer can't be read", extra={"error": type(error).__name__})
        return None


def _packed(turn: Turn, slip: Slip, cost_usd: Decimal | None, body: bytes | None) -> bytes | Reason:
    """The entry of a whole answer, or why there is none. Blocks."""
    made_ms, ttl_s = now_ms(), turn.rule.ttl_s
    if slip.facts.dialect == "openai-embeddings":
        if body is None or len(body) > eligible.MOST_ANSWER:
            return "large"
        kept = Entry(
            made_ms=made_ms, expires_ms=made_ms + ttl_s * 1000, cost_usd=cost_usd, body=body.decode()
        )
        return kept.pack() or "large"
    assert turn.tape is not None
    said = turn.tape.whole()
    if said is None:
        return "large"
    answer = _answer(turn, slip, said)
    if answer is None:
        return "failed"
    reason = eligible.unfit(answer, slip.role)
    if reason is not None:
        return reason
    return entry.of_answer(answer, made_ms=made_ms, ttl_s=ttl_s, cost_usd=cost_usd).pack() or "large"


def _answer(turn: Turn, slip: Slip, said: bytes) -> Answer | None:
    """The answer in no client's dialect, out of what the provider sent."""
    outbound, provider = registry.outbound(turn.spoken), slip.target.provider
    if not slip.facts.stream:
        answer = outbound.parse_answer(said, provider)
        return None if isinstance(answer, Failure) else answer
    reader = outbound.reader(provider)
    events = [*reader.feed(said), *reader.end()]
    if reader.failure is not None:
        return None
    try:
        return fold.folded(events)
    except fold.Unfoldable:
        return None
