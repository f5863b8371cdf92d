"""Which provider key an attempt uses. Values stay in this process."""

from __future__ import annotations

from typing import NamedTuple

from keyrail.keys.base import KeyReader, KeyStoreError, ProviderKey
from keyrail.keys.secret import Secret


class Chosen(NamedTuple):
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
            keys = await self._store.keys(tenant, provider)
            best = keys[0] if len(keys) == 1 else min(keys, key=_rank, default=None)
            if best is not None and best.weight > 0:
                return Chosen(best.id, await self._store.value(best))
        except KeyStoreError:
            return None
        return None if needed else Chosen(None, None)


def _rank(key: ProviderKey) -> tuple[int, str]:
    return (-key.weight, key.id)
