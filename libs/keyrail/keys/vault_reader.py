"""The side of Vault that provider-worker holds: values in memory, confirmed in the background."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from keyrail.keys import vault_layout
from keyrail.keys.base import (
    KeyDamaged,
    KeyName,
    KeyNotFound,
    KeyStoreUnavailable,
    ProviderKey,
    check_name,
)
from keyrail.keys.secret import Secret
from keyrail.keys.vault_client import VaultClient
from keyrail.keys.vault_health import VaultUnavailable
from keyrail.keys.vault_layout import Version
from keyrail.telemetry import metrics

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 30.0
JITTER: Final = 0.2
"""Polls come this much of the soft TTL earlier at most, so that workers do not ask in step."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A secret as last read: the key and its value, or what is wrong with it."""

    version: Version
    content: tuple[ProviderKey, Secret] | str


@dataclass(slots=True, eq=False)
class _Folder:
    """The keys of one tenant and provider. `confirmed` is when Vault last said that they are as here."""

    tenant: str
    provider: str
    stored: dict[str, _Stored] = field(default_factory=dict[str, _Stored])
    confirmed: float | None = None
    trouble: VaultUnavailable | None = None
    looked: asyncio.Event = field(default_factory=asyncio.Event)  # the first look is over, however it ended
    changed: set[str] = field(default_factory=set[str])  # ids to read whatever their version
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class VaultReader:
    """A KeyReader. The first question for a tenant and provider waits for Vault, all others do not.

    Every folder that was asked for is looked at once in `soft_ttl_s`: which keys there are, in which version;
    values are read when theirs has changed. While Vault gives no answer, what is cached is served up to
    `hard_ttl_s` after it was last confirmed; then KeyStoreUnavailable, until Vault answers again.
    """

    def __init__(
        self,
        client: VaultClient,
        *,
        soft_ttl_s: float,
        hard_ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._soft_ttl_s = soft_ttl_s
        self._hard_ttl_s = hard_ttl_s
        self._clock = clock
        self._folders: dict[tuple[str, str], _Folder] = {}

    async def open(self) -> None:
        """Return once logged in."""
        await self._client.open()

    async def close(self) -> None:
        """Stop polling and renewing."""
        tasks = [folder.task for folder in self._folders.values() if folder.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    def refresh(self, name: KeyName) -> None:
        """Read this key and look at its neighbours now, in the background."""
        folder = self._folder(name.tenant, name.provider)
        folder.changed.add(name.id)
        folder.wanted.set()

    async def keys(self, tenant: str, provider: str) -> list[ProviderKey]:
        """The tenant's keys at this provider, sorted by id."""
        return [_content(stored)[0] for stored in (await self._cached(tenant, provider)).values()]

    async def value(self, key: KeyName) -> Secret:
        """The key's current value."""
        stored = (await self._cached(key.tenant, key.provider)).get(key.id)
        if stored is None:
            raise KeyNotFound(f"there is no key {key}")
        return _content(stored)[1]

    async def _cached(self, tenant: str, provider: str) -> dict[str, _Stored]:
        folder = self._folders.get((tenant, provider)) or self._folder(tenant, provider)
        if not folder.looked.is_set():
            await folder.looked.wait()
        if folder.confirmed is not None and self._clock() - folder.confirmed < self._hard_ttl_s:
            return folder.stored
        raise KeyStoreUnavailable(str(folder.trouble or "Vault has not confirmed the keys for too long"))

    def _folder(self, tenant: str, provider: str) -> _Folder:
        folder = self._folders.get((tenant, provider))
        if folder is None:
            check_name("tenant", tenant)
            check_name("provider", provider)
            folder = self._folders[tenant, provider] = _Folder(tenant, provider)
            folder.task = asyncio.create_task(self._keep(folder), name=f"vault {tenant}/{provider}")
        return folder

    async def _keep(self, folder: _Folder) -> None:
        """Look at a folder now, once in a soft TTL, and when somebody says that it has changed."""
        pause = FIRST_PAUSE_S
        while True:
            folder.wanted.clear()
            changed, folder.changed = folder.changed, set()
            try:
                await self._look(folder, changed)
                pause, wait = FIRST_PAUSE_S, self._soft_ttl_s * (1 - random.random() * JITTER)  # noqa: S311
            except VaultUnavailable as error:
                folder.trouble = error
                folder.changed |= changed
                wait, pause = min(pause, self._soft_ttl_s), min(pause * 2, LONGEST_PAUSE_S)
            folder.looked.set()
            self._tell()
            try:
                await asyncio.wait_for(folder.wanted.wait(), wait)
            except TimeoutError:
                continue

    async def _look(self, folder: _Folder, changed: set[str]) -> None:
        """Read what has changed, and `changed` anyway. Nothing of it counts before all of it was read."""
        started = self._clock()
        listing = await self._client.list(vault_layout.folder(folder.tenant, folder.provider))
        stored: dict[str, _Stored] = {}
        for id in vault_layout.ids(listing):
            name = KeyName(folder.tenant, folder.provider, id)
            known = folder.stored.get(id)
            if known is not None and id not in changed and await self._is_current(name, known):
                stored[id] = known
                continue
            read = await self._client.read(vault_layout.path(name))
            if read is not None:  # deleted since, or its newest version is
                stored[id] = _Stored(read[0], vault_layout.key(name, read[1]))
        folder.stored, folder.confirmed, folder.trouble = stored, started, None

    async def _is_current(self, name: KeyName, known: _Stored) -> bool:
        return await self._client.version(vault_layout.path(name)) == known.version

    def _tell(self) -> None:
        confirmed = [f.confirmed for f in self._folders.values() if f.confirmed is not None]
        metrics.VAULT_STALE_SECONDS.set(self._clock() - min(confirmed, default=self._clock()))


def _content(stored: _Stored) -> tuple[ProviderKey, Secret]:
    if isinstance(stored.content, str):
        raise KeyDamaged(stored.content)
    return stored.content
