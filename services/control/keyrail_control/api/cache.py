"""Routes of the cache: how much is kept, and its removal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from keyrail_control import audit
from keyrail_control.api.bodies import Body
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.errors import Invalid
from keyrail_control.kept_answers import Kept, KeptAnswers

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Purge(Body, frozen=True, kw_only=True):
    """Whose answers to remove; null, or left out: everybody's."""

    tenant: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """`purged`: how many there were right before."""

    tenant: str | None
    purged: int


@dataclass(frozen=True, slots=True)
class CacheRoutes:
    """`kept` raises BusUnavailable."""

    kept: KeptAnswers

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route("GET", "/v1/cache", "How many answers are kept, of whom", self._stats, answer=Kept),
            Route("POST", "/v1/cache/purges", "Remove kept answers", self._purge, Purge, Purged),
        )

    async def _stats(self, call: Call[None]) -> Kept:
        return await self.kept.stats()

    async def _purge(self, call: Call[Purge]) -> Purged:
        tenant = call.body.tenant
        if tenant is not None and not _NAME.fullmatch(tenant):
            raise Invalid("tenant: letters, digits, '-' and '_'")
        purged = await self.kept.purge(tenant)
        audit.changed("cache.purge", tenant or "*", purged=purged)
        return Purged(tenant=tenant, purged=purged)
