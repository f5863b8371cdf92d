"""Virtual keys: issued, listed, rotated, revoked. Only hashes are stored; a secret is shown once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Final

from keyrail.contracts.base import now_ms
from keyrail.contracts.config import TokenRecord
from keyrail.keys import virtual
from keyrail.keys.virtual import Issued
from keyrail_control import audit
from keyrail_control.buckets import Bucket
from keyrail_control.errors import Conflict, Unknown

log = logging.getLogger(__name__)

MOST_TRIES: Final = 50


class VirtualKeys:
    """Raises BusError besides what is said. Records stay for good, so that no id is given twice."""

    def __init__(self, bucket: Bucket, issue: Callable[[str | None], Issued] = virtual.issue) -> None:
        self._bucket = bucket
        self._issue = issue

    async def records(self) -> list[TokenRecord]:
        """All of them, oldest first."""
        entries = await self._bucket.all()
        found = [TokenRecord.decode(entry.value) for entry in entries.values()]
        return sorted(found, key=lambda record: (record.created_ms, record.id))

    async def issue(self, wanted: TokenRecord) -> tuple[TokenRecord, Issued]:
        """A new key with what `wanted` says; its id, hash and time are made here."""
        for _ in range(MOST_TRIES):
            issued = self._issue(None)
            record = wanted.replace(id=issued.id, sha256=issued.sha256, created_ms=now_ms())
            if await self._bucket.write(record.id, record.encode(), None):
                audit.changed("tokens.issue", record.id, tenant=record.tenant, team=record.team)
                return record, issued
        raise Conflict("no free id was found")

    async def rotate(self, id: str, overlap_ms: int) -> tuple[TokenRecord, Issued]:
        """A new secret; the one before is good for `overlap_ms` more. Raises Unknown and Conflict."""
        issued = self._issue(id)

        def rotated(record: TokenRecord) -> TokenRecord:
            now = now_ms()
            if record.revoked:
                raise Conflict("the key is revoked: issue another one")
            if record.expires_ms is not None and record.expires_ms <= now:
                raise Conflict("the key has expired: issue another one")
            return record.replace(
                sha256=issued.sha256,
                previous_sha256=record.sha256 if overlap_ms else None,
                previous_until_ms=now + overlap_ms if overlap_ms else None,
            )

        record = await self._change(id, rotated)
        audit.changed("tokens.rotate", id, previous_until_ms=record.previous_until_ms)
        return record, issued

    async def revoke(self, id: str) -> TokenRecord:
        """Let nobody in by this key any more. Raises Unknown."""
        record = await self._change(
            id,
            lambda record: record.replace(revoked=True, previous_sha256=None, previous_until_ms=None),
        )
        audit.changed("tokens.revoke", id)
        return record

    async def let_in(self, key: str, tenant: str) -> None:
        """Store a key that was made elsewhere, unless its id is known. Raises ValueError when it is none."""
        id = virtual.parse(key)
        if id is None:
            raise ValueError("the file does not hold a virtual key")
        digest = hashlib.sha256(key.encode()).hexdigest()
        record = TokenRecord(id=id, sha256=digest, tenant=tenant, created_ms=now_ms())
        if await self._bucket.write(id, record.encode(), None):
            log.info("virtual key published", extra={"subject": id})

    async def _change(self, id: str, change: Callable[[TokenRecord], TokenRecord]) -> TokenRecord:
        for _ in range(MOST_TRIES):
            entry = await self._bucket.get(id) if virtual.is_id(id) else None
            if entry is None:
                raise Unknown("there is no virtual key of this id")
            record = change(TokenRecord.decode(entry.value))
            if await self._bucket.write(id, record.encode(), entry):
                return record
        raise Conflict("the key was changed by others all the time")
