"""What this worker knows of the health of provider keys, and what it tells the others."""

from __future__ import annotations

import asyncio
import logging

from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.bus.events import EventPublisher
from keyrail.contracts.base import now_ms
from keyrail.contracts.events import AlertRaised
from keyrail.contracts.keys import LASTING, KeyHealth, key_name
from keyrail.keys import outage
from keyrail.keys.base import KeyName, KeyNotFound, KeyReader, KeyStoreError
from keyrail.keys.book import KeyBook
from keyrail.keys.outage import Refusal
from keyrail.telemetry import metrics

log = logging.getLogger(__name__)

RETRY_S = 1.0
LOOK_S = 1.0
"""How often keys that are out are looked at: whether their value was changed, whether it is forgotten."""


class Healths:
    """The bucket's word, and over it what this worker has seen itself and not written yet.

    A refusal counts here at once. A task writes it to the bucket by compare-and-set, again until it holds.
    """

    def __init__(
        self, book: KeyBook, documents: Documents, alerts: EventPublisher, store: KeyReader, instance: str
    ) -> None:
        self._book = book
        self._documents = documents
        self._alerts = alerts
        self._store = store
        self._instance = instance
        self._unwritten: dict[str, KeyHealth] = {}
        self._writers: dict[str, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._shown: set[tuple[str, str]] = set()

    async def start(self) -> None:
        """Look at the keys that are out once, and from then on each second. The book is full by now."""
        await self.look()
        self._looking = asyncio.create_task(self._look_again(), name="keys that are out")

    async def stop(self) -> None:
        """Write what is not written yet, for a moment."""
        if self._looking is not None:
            self._looking.cancel()
        if self._writers:
            await asyncio.wait(self._writers.values(), timeout=2 * RETRY_S)

    @property
    def writing(self) -> bool:
        """Whether something is not written yet."""
        return bool(self._writers)

    @property
    def any(self) -> bool:
        """Whether anything is known against any key."""
        return bool(self._unwritten or self._book.healths)

    def version(self, name: str) -> int | None:
        """The current version of a key; None when there is no record of it."""
        return self._book.version(name)

    def of(self, name: str) -> KeyHealth | None:
        """What is known against the current version of a key."""
        health = self._unwritten.get(name)
        return self._book.health(name) if health is None else outage.current(health, self.version(name))

    def refused(self, key: KeyName, refusal: Refusal) -> None:
        """A provider refused this key."""
        name = key_name(key.tenant, key.provider, key.id)
        before, at_ms = self.of(name), now_ms()
        if refusal.version != self.version(name):
            return  # what was refused is not the key any more
        health = outage.refused(before, refusal, at_ms)
        if health == before:
            return
        if before is None or before.since_ms != health.since_ms or before.reason != health.reason:
            metrics.counter(metrics.KEY_OUTS, key.provider, health.reason).inc()
            log.warning("provider key out", extra={"key": str(key), **_shown(health)})
        self._unwritten[name] = health
        if name not in self._writers:
            task = self._writers[name] = asyncio.create_task(self._write(key, name))
            task.add_done_callback(lambda _: self._writers.pop(name, None))

    async def clear(self, key: KeyName) -> None:
        """The key was tried and is good. Raises BusError."""
        name = key_name(key.tenant, key.provider, key.id)
        if writer := self._writers.get(name):
            await asyncio.wait({writer}, timeout=RETRY_S)
        self._unwritten.pop(name, None)
        if await self._documents.remove(name, lambda _: True):
            log.info("provider key in again", extra={"key": str(key), "why": "tested"})
        self._book.drop_health(name)

    async def _write(self, key: KeyName, name: str) -> None:
        unsure = False
        while (mine := self._unwritten.get(name)) is not None:
            try:
                before, after = await self._documents.change(name, _Put(mine))
            except BusError as error:
                unsure = True
                log.warning("a key's health is not written yet", extra={"key": str(key), "error": str(error)})
                await asyncio.sleep(RETRY_S)
                continue
            self._book.healths[name] = after
            if self._unwritten.get(name) == mine:
                del self._unwritten[name]
            if _lasts(after) and (unsure or not _lasts(outage.current(before, after.version))):
                self._raise(key, after)
                unsure = False

    def _raise(self, key: KeyName, health: KeyHealth) -> None:
        """Alert somebody. The id says what it is about, so that two workers' alerts are one."""
        kind = "key-money" if health.reason == "money" else "key-auth"
        about = health.version if health.version is not None else health.mark
        name = key_name(key.tenant, key.provider, key.id)
        what = "has no credit left" if health.reason == "money" else "was refused"
        alert = AlertRaised(
            alert_id=f"{kind}.{name}.{about}",
            kind=kind,
            tenant=key.tenant,
            subject=name,
            detail=f"The provider key {key} {what}. It is out until it is tested or rotated.",
            raised_by=self._instance,
            raised_ms=now_ms(),
        )
        metrics.counter(metrics.KEY_ALERTS, key.provider, kind).inc()
        log.error("alert", extra={"kind": kind, "key": str(key), "alert_id": alert.alert_id})
        self._alerts.post(alert)

    async def look(self) -> None:
        """Take back in whose value was changed without a word, forget what is over, count what is out."""
        at_ms = now_ms()
        for name, health in list(self._book.healths.items()):
            why = await self._obsolete(name, health, at_ms)
            if why is None:
                continue
            try:
                removed = await self._documents.remove(name, lambda now, seen=health: _read(now) == seen)
            except BusError as error:
                log.warning("a key's health is not removed yet", extra={"key": name, "error": str(error)})
                continue
            if removed:
                self._book.drop_health(name)
                log.info("provider key in again", extra={"key": name, "why": why})
        self._show(at_ms)

    async def _obsolete(self, name: str, health: KeyHealth, at_ms: int) -> str | None:
        if outage.is_over(health, at_ms):
            return "calm"
        version = self.version(name)
        if version is not None and version > (health.version or 0):
            return "rotated"  # an older one than the health's only means that its record is on its way here
        if health.mark is None or outage.share(health, at_ms) > 0:
            return None
        try:
            value = await self._store.value(KeyName(*name.split(".")))
        except KeyNotFound:
            return "gone"
        except KeyStoreError:
            return None
        return None if outage.mark(name, value.reveal()) == health.mark else "changed"

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except Exception:  # the edge of a loop that must not end
                log.exception("keys that are out could not be looked at")

    def _show(self, at_ms: int) -> None:
        counts = dict.fromkeys(self._shown, 0)
        for name, health in {**self._book.healths, **self._unwritten}.items():
            if outage.share(outage.current(health, self.version(name)), at_ms) == 0:
                labels = name.split(".")[1], health.reason
                counts[labels] = counts.get(labels, 0) + 1
        for labels, count in counts.items():
            metrics.KEYS_OUT.labels(*labels).set(count)
        self._shown = set(counts)


class _Put:
    """The change of a document that brings this worker's word in: before and after are its result."""

    def __init__(self, mine: KeyHealth) -> None:
        self._mine = mine

    def __call__(self, now: bytes | None) -> tuple[bytes | None, tuple[KeyHealth | None, KeyHealth]]:
        before = _read(now)
        after = self._mine if before is None else outage.later(before, self._mine)
        return (None if after == before else after.encode()), (before, after)


def _read(document: bytes | None) -> KeyHealth | None:
    try:
        return KeyHealth.decode(document) if document else None
    except ValueError:
        return None


def _lasts(health: KeyHealth | None) -> bool:
    return health is not None and health.until_ms is None and health.reason in LASTING


def _shown(health: KeyHealth) -> dict[str, object]:
    return {"reason": health.reason, "until_ms": health.until_ms, "times": health.times}
