"""Provider keys: their values go into the store, what everybody may know of them into a bucket.

control can't read values. It writes the value first and the record after it, so that whoever sees a new
version finds a value at least as new. One change at a time; a second control's are told apart by
compare-and-set of the records, though not by the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Literal

import msgspec

from keyrail.bus.errors import BusError
from keyrail.contracts.base import now_ms
from keyrail.contracts.keys import KeyHealth, KeyRecord, OutReason, key_name
from keyrail.contracts.signals import KeyTest, KeyTested
from keyrail.keys.base import KeyName, KeyNotFound, KeyStoreError, KeyWriter, check_value
from keyrail.keys.secret import Secret
from keyrail_control import audit
from keyrail_control.buckets import Bucket, Entry
from keyrail_control.errors import Conflict, Invalid, Unknown

log = logging.getLogger(__name__)

FROM_ENVIRONMENT: Final = "env"
"""The id of keys that whoever starts the stack puts into the store at each start."""
MOST_TRIES: Final = 50
_NO_KEY: Final = "there is no such key"  # not which: people paste values in the wrong place

Providers = Callable[[], Awaitable[Collection[str]]]
Test = Callable[[KeyTest], Awaitable[KeyTested]]
State = Literal["ok", "out", "recovering"]


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A provider key. Out: nobody uses it until `until_ms`, null: until it is tested or rotated."""

    tenant: str
    provider: str
    id: str
    weight: int
    version: int
    changed_ms: int
    state: State = "ok"
    reason: OutReason | None = None
    until_ms: int | None = None


def row(record: KeyRecord, health: KeyHealth | None, now_ms: int) -> KeyRow:
    """What is known of a key. Health of an earlier version says nothing of this one. Pure."""
    known = KeyRow(
        tenant=record.tenant,
        provider=record.provider,
        id=record.id,
        weight=record.weight,
        version=record.version,
        changed_ms=record.changed_ms,
    )
    if health is None or (health.version is not None and health.version < record.version):
        return known
    out = health.until_ms is None or health.until_ms > now_ms
    return msgspec.structs.replace(
        known, state="out" if out else "recovering", reason=health.reason, until_ms=health.until_ms
    )


class ProviderKeys:
    """Raises KeyStoreError and BusError besides what is said. `changed` is called when keys came or went."""

    def __init__(
        self,
        writer: KeyWriter,
        records: Bucket,
        health: Bucket,
        providers: Providers,
        test: Test,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._writer = writer
        self._records = records
        self._health = health
        self._providers = providers
        self._test = test
        self._changed = changed
        self._one_at_a_time = asyncio.Lock()

    async def rows(self) -> list[KeyRow]:
        """All keys, by name."""
        records, health = await self._records.all(), await self._health.all()
        now = now_ms()
        return [
            row(KeyRecord.decode(entry.value), _health(health.get(name)), now)
            for name, entry in sorted(records.items())
        ]

    async def add(self, name: KeyName, value: Secret, weight: int) -> KeyRow:
        """Store a new key. Raises Conflict when there is one of this name, Invalid for unknown providers."""
        check_value(value, weight)
        if name.provider not in await self._providers():
            raise Invalid("provider: the configuration in force has none of this name")
        async with self._one_at_a_time:
            if name in await self._writer.list():
                raise Conflict("there is a key of this name: rotate it")
            await self._writer.put(name.tenant, name.provider, name.id, value, weight)
            record = await self._next(name, weight)
        audit.changed("keys.add", str(name), version=record.version)
        await self._told()
        return row(record, None, now_ms())

    async def rotate(self, name: KeyName, value: Secret, weight: int | None) -> KeyRow:
        """Replace a key's value; its weight stays unless it is given. Raises Unknown."""
        check_value(value, weight if weight is not None else 1)
        async with self._one_at_a_time:
            await self._known(name)
            known = await self._records.get(_entry_name(name))
            if weight is None:
                weight = KeyRecord.decode(known.value).weight if known else 1
            await self._writer.put(name.tenant, name.provider, name.id, value, weight)
            record = await self._next(name, weight)
        audit.changed("keys.rotate", str(name), version=record.version)
        return row(record, None, now_ms())

    async def revoke(self, name: KeyName) -> None:
        """Remove a key for good. Raises Unknown."""
        async with self._one_at_a_time:
            try:
                await self._writer.delete(name.tenant, name.provider, name.id)
            except KeyNotFound:
                raise Unknown(_NO_KEY) from None
            if entry := await self._records.get(_entry_name(name)):
                await self._records.delete(_entry_name(name), entry)
        audit.changed("keys.revoke", str(name))
        await self._told()

    async def test(self, name: KeyName) -> KeyTested:
        """Let a worker try the key. Raises Unknown and Unavailable."""
        await self._known(name)
        tested = await self._test(KeyTest(tenant=name.tenant, provider=name.provider, id=name.id))
        audit.changed("keys.test", str(name), result=tested.result)
        return tested

    async def names(self) -> list[KeyName]:
        """What is published, so that nobody waits for the store who only wants to know this."""
        records = [KeyRecord.decode(entry.value) for entry in (await self._records.all()).values()]
        return sorted((KeyName(each.tenant, each.provider, each.id) for each in records), key=str)

    async def publish(self, *, at_start: bool = False) -> None:
        """Make the records what the store has; something else than control may have written to it.

        Records are read first: what is in the records and not in the store afterwards is gone for good. At
        the start keys of the environment get a new version: their values may be new, which only whoever wrote
        them knows.
        """
        async with self._one_at_a_time:
            records = await self._records.all()
            stored = {_entry_name(name): name for name in await self._writer.list()}
            for key in stored.keys() - records.keys():
                await self._next(stored[key], 1, only_new=True)
                log.info("provider key published", extra={"subject": str(stored[key])})
            for key in records.keys() - stored.keys():
                await self._records.delete(key, records[key])
                log.info("provider key is gone from the store", extra={"subject": key.replace(".", "/")})
            if at_start:
                for key in stored.keys() & records.keys():
                    if stored[key].id == FROM_ENVIRONMENT:
                        await self._next(stored[key], KeyRecord.decode(records[key].value).weight)

    async def _told(self) -> None:
        """Say that keys came or went. The change itself is made: a failure here is made up for later."""
        try:
            await self._changed()
        except (BusError, KeyStoreError) as error:
            log.warning("models are not listed anew yet", extra={"error": str(error)})

    async def _known(self, name: KeyName) -> None:
        if name not in await self._writer.list():
            raise Unknown(_NO_KEY)

    async def _next(self, name: KeyName, weight: int, *, only_new: bool = False) -> KeyRecord:
        """Write the record of the next version. It is never one that somebody found to be out already."""
        for _ in range(MOST_TRIES):
            entry = await self._records.get(_entry_name(name))
            before = KeyRecord.decode(entry.value) if entry else None
            if before is not None and only_new:
                return before
            health = _health(await self._health.get(_entry_name(name)))
            last = max(before.version if before else 0, (health.version or 0) if health else 0)
            record = KeyRecord(
                tenant=name.tenant,
                provider=name.provider,
                id=name.id,
                weight=weight,
                version=last + 1,
                changed_ms=now_ms(),
            )
            if await self._records.write(_entry_name(name), record.encode(), entry):
                return record
        raise Conflict("the key was changed by others all the time")


def _entry_name(name: KeyName) -> str:
    return key_name(name.tenant, name.provider, name.id)


def _health(entry: Entry | None) -> KeyHealth | None:
    return KeyHealth.decode(entry.value) if entry else None
