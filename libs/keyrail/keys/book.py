"""What the buckets say of all provider keys, in memory. No I/O: whoever watches the buckets feeds it."""

from __future__ import annotations

import logging

from keyrail.contracts.keys import KeyHealth, KeyRecord
from keyrail.keys.outage import current

log = logging.getLogger(__name__)


class KeyBook:
    """`KeyRecord`s and `KeyHealth`s by name (`<tenant>.<provider>.<id>`).

    What cannot be read counts as not there, with a line in the log.
    """

    def __init__(self) -> None:
        self.records: dict[str, KeyRecord] = {}
        self.healths: dict[str, KeyHealth] = {}
        self._pools: dict[tuple[str, str], dict[str, KeyRecord]] = {}

    def put_record(self, name: str, value: bytes) -> bool:
        """An entry of the bucket of keys. Returns whether its value is to be read anew."""
        try:
            record = KeyRecord.decode(value)
        except ValueError:
            log.error("a key's record could not be read", extra={"key": name})
            return False
        before = self.records.get(name)
        self.records[name] = record
        self._pools.setdefault((record.tenant, record.provider), {})[name] = record
        return before is None or before.version != record.version

    def drop_record(self, name: str) -> None:
        """The key was removed."""
        record = self.records.pop(name, None)
        if record is not None:
            pool = self._pools[record.tenant, record.provider]
            del pool[name]
            if not pool:
                del self._pools[record.tenant, record.provider]

    def put_health(self, name: str, value: bytes) -> None:
        """An entry of the bucket of their health."""
        try:
            self.healths[name] = KeyHealth.decode(value)
        except ValueError:
            log.error("a key's health could not be read", extra={"key": name})

    def drop_health(self, name: str) -> None:
        """Nothing is known against the key any more."""
        self.healths.pop(name, None)

    def version(self, name: str) -> int | None:
        """The key's current version; None when there is no record of it."""
        record = self.records.get(name)
        return record.version if record is not None else None

    def health(self, name: str) -> KeyHealth | None:
        """What is known against the key's current version."""
        health = self.healths.get(name)
        return current(health, self.version(name)) if health is not None else None

    def pool(self, tenant: str, provider: str) -> dict[str, KeyRecord]:
        """The records of the tenant's keys at this provider, by name; empty when there are none."""
        return self._pools.get((tenant, provider), {})
