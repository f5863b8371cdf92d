"""What the cache holds, counted and purged. The bus lets workers alone read it."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from nats.errors import Error as NatsError

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusUnavailable
from keyrail.contracts import streams, subjects

_STREAM: Final = f"KV_{streams.CACHE.name}"
_PREFIX: Final = f"$KV.{streams.CACHE.name}."


class TenantKept(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers of one tenant are kept."""

    tenant: str
    entries: int


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """`bytes` on disk, of `most_bytes` after which the oldest answers go."""

    entries: int
    bytes: int
    most_bytes: int
    tenants: tuple[TenantKept, ...]


class KeptAnswers:
    """The bucket as the server counts it. Raises BusUnavailable."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def stats(self, tenant: str = "*") -> Kept:
        """What is kept, of one tenant or of all."""
        try:
            info = await self._bus.js.stream_info(_STREAM, subjects_filter=f"{_PREFIX}{tenant}.*")
        except (NatsError, TimeoutError, OSError) as error:
            raise _unavailable(error) from error
        names = (subject.removeprefix(_PREFIX) for subject in info.state.subjects or ())
        counts = Counter(name.partition(".")[0] for name in names)
        return Kept(
            entries=counts.total(),
            bytes=info.state.bytes,
            most_bytes=info.config.max_bytes or 0,
            tenants=tuple(TenantKept(tenant=name, entries=counts[name]) for name in sorted(counts)),
        )

    async def purge(self, tenant: str | None) -> int:
        """Remove a tenant's answers, or everybody's (None), and have the workers forget them: how many."""
        before = await self.stats(tenant or "*")
        try:
            await self._bus.js.purge_stream(_STREAM, subject=f"{_PREFIX}{tenant}.>" if tenant else None)
        except (NatsError, TimeoutError, OSError) as error:
            raise _unavailable(error) from error
        self._bus.send(subjects.CACHE_PURGED, (tenant or "").encode())
        return before.entries


def _unavailable(error: Exception) -> BusUnavailable:
    return BusUnavailable(f"the cache can't be looked at now: {type(error).__name__}")
