"""Which provider key an attempt uses. Values stay in this process."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection
from typing import NamedTuple

from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.contracts.keys import key_name
from keyrail.keys import outage, pool
from keyrail.keys.base import KeyName, KeyReader, KeyStoreError, ProviderKey
from keyrail.keys.pool import Member
from keyrail.keys.secret import Secret
from keyrail_provider_worker.fallback import KEY_CHANGED
from keyrail_provider_worker.health import Healths

log = logging.getLogger(__name__)

FRESH_WITHIN_S = 0.3
"""How long to wait for the store to say that a refused value is not the key's any more."""
LOOK_S = 0.02


Scarce = Callable[[Collection[str]], Collection[str]]
"""Those of some keys whose limits have no room for a request."""

_DRAW = random.Random().random  # noqa: S311 - no secret, and asking the system is a call to it


class Chosen(NamedTuple):
    """A key's id and value; both None for a provider that needs none. `version`, `asked_ms`: see Refusal."""

    id: str | None
    value: Secret | None
    version: int | None = None
    asked_ms: int = 0


class Keyring:
    """Draws among a tenant's keys of a provider, and takes note of those that are refused."""

    def __init__(
        self,
        store: KeyReader,
        healths: Healths,
        draw: Callable[[], float] = _DRAW,
    ) -> None:
        self._store = store
        self._healths = healths
        self._draw = draw

    async def choose(
        self,
        tenant: str,
        provider: str,
        *,
        needed: bool,
        tried: Collection[str] = (),
        scarce: Scarce | None = None,
    ) -> Chosen | Failure:
        """A key that is not out and was not `tried`, and if there is one, not `scarce`.

        A Failure says why there is none.
        """
        asked_ms = now_ms()
        try:
            keys = await self._store.keys(tenant, provider)
        except KeyStoreError:
            return _no_key(provider)
        members = self._members(keys)
        spared = scarce([member.id for member in members]) if scarce is not None else ()
        while member := self._drawn(members, asked_ms, tried, spared):
            key = keys[members.index(member)] if len(keys) > 1 else keys[0]
            version = self._healths.version(key_name(tenant, provider, key.id))
            try:
                return Chosen(key.id, await self._store.value(key), version, asked_ms)
            except KeyStoreError as error:
                log.warning("a provider key could not be read", extra={"error": str(error)})
                tried = (*tried, member.id)
        return self._none(members, provider, asked_ms, needed=needed)

    def _drawn(
        self, members: list[Member], at_ms: int, tried: Collection[str], spared: Collection[str]
    ) -> Member | None:
        if spared and (found := pool.choose(members, at_ms, self._draw(), (*tried, *spared))):
            return found
        return pool.choose(members, at_ms, self._draw(), tried)

    async def left(self, tenant: str, provider: str, tried: Collection[str]) -> bool:
        """Whether there is a key that could be chosen."""
        try:
            members = self._members(await self._store.keys(tenant, provider))
        except KeyStoreError:
            return False
        return pool.choose(members, now_ms(), 0.0, tried) is not None

    async def refused(self, tenant: str, provider: str, key: Chosen, failure: Failure) -> Failure:
        """Take note of an attempt's failure where it is the key's. Nothing waits for the bus.

        A value that is no longer the key's says nothing against the key: then the failure has the code
        KEY_CHANGED, and the same key may be tried again.
        """
        reason = outage.reason_of(failure)
        if reason is None or key.id is None or key.value is None:
            return failure
        name = KeyName(tenant, provider, key.id)
        full = key_name(tenant, provider, key.id)
        if reason == "auth" and await self._changed(name, key, full):
            return failure.replace(code=KEY_CHANGED)
        mark = outage.mark(full, key.value.reveal())
        self._healths.refused(
            name, outage.Refusal(reason, failure.retry_after_s, key.version, mark, key.asked_ms)
        )
        return failure

    async def _changed(self, name: KeyName, key: Chosen, full: str) -> bool:
        """Whether the key has another value by now. The store is asked for a fresh one."""
        if self._healths.version(full) != key.version:
            return True
        self._store.refresh(name)  # which may take its time, in the background
        try:
            async with asyncio.timeout(FRESH_WITHIN_S):
                while await self._store.value(name) == key.value:  # noqa: ASYNC110 - a store tells nobody
                    await asyncio.sleep(LOOK_S)
        except (KeyStoreError, TimeoutError):
            return self._healths.version(full) != key.version
        return True

    def _members(self, keys: list[ProviderKey]) -> list[Member]:
        if not self._healths.any:
            return [Member(key.id, key.weight, None) for key in keys]
        of = self._healths.of
        return [Member(key.id, key.weight, of(key_name(key.tenant, key.provider, key.id))) for key in keys]

    def _none(self, members: list[Member], provider: str, at_ms: int, *, needed: bool) -> Chosen | Failure:
        out = pool.out(members, at_ms)
        if out is not None:
            return pool.refusal(provider, out, at_ms)
        if any(member.weight > 0 for member in members):
            return _none_left(provider)
        return _no_key(provider) if needed else Chosen(None, None)


def _none_left(provider: str) -> Failure:
    return Failure(
        kind="no_key",
        message=f"Every key for the provider {provider!r} was tried, or could not be read.",
        status=503,
        provider=provider,
        code=pool.KEYS_OUT,
    )


def _no_key(provider: str) -> Failure:
    return Failure(
        kind="no_key",
        message=f"No key for the provider {provider!r} is stored in this gateway.",
        status=503,
        provider=provider,
        code="no_provider_key",
    )
