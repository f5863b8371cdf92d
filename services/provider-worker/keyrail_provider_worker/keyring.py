"""Which provider key an attempt uses. Values stay in this process."""

from __future__ import annotations

from dataclasses import dataclass

from keyrail.keys.base import KeyReader, KeyStoreError
from keyrail.keys.secret import Secret


@dataclass(frozen=True, slots=True)
class Chosen:
    """A key's id and value; both None for a provider that needs none."""

    id: str | None
    value: Secret | None


class Keyring:
    """Chooses among a tenant's keys of a provider: the heaviest, then the first by id; weight 0 never."""

    def __init__(self, store: KeyReader) -> None:
        self._store = store

    async def choose(self, tenant: str, provider: str, *, needed: bool) -> Chosen | None:
        """A key, or None when one is needed and there is none that can be read."""
        try:
            keys = [key for key in await self._store.keys(tenant, provider) if key.weight > 0]
            if keys:
                best = min(keys, key=lambda k: (-k.weight, k.id))
                return Chosen(best.id, await self._store.value(best))
        except KeyStoreError:
            return None
        return None if needed else Chosen(None, None)
