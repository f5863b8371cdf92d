"""The side of Vault that control holds. Its role can create, replace, list and remove, and cannot read."""

from __future__ import annotations

from keyrail.keys import vault_layout
from keyrail.keys.base import KeyName, KeyNames, KeyNotFound, check_value
from keyrail.keys.secret import Secret
from keyrail.keys.vault_client import VaultClient


class VaultWriter:
    """A KeyWriter."""

    def __init__(self, client: VaultClient) -> None:
        self._client = client

    async def open(self) -> None:
        """Return once logged in."""
        await self._client.open()

    async def close(self) -> None:
        """Stop renewing the token."""
        await self._client.close()

    async def put(self, tenant: str, provider: str, id: str, value: Secret, weight: int = 1) -> None:
        """Store a key as a new version."""
        name = KeyName(tenant, provider, id)
        check_value(value, weight)
        await self._client.write(vault_layout.path(name), lambda: vault_layout.content(value, weight))

    async def delete(self, tenant: str, provider: str, id: str) -> None:
        """Remove a key with all its versions. Raises KeyNotFound."""
        name = KeyName(tenant, provider, id)
        listing = await self._client.list(vault_layout.folder(tenant, provider))
        if id not in vault_layout.ids(listing):
            raise KeyNotFound(f"there is no key {name}")
        await self._client.remove(vault_layout.path(name))

    async def list(self) -> KeyNames:
        """The names of all keys, sorted."""
        names: KeyNames = []
        for tenant in vault_layout.folders(await self._client.list(vault_layout.TENANTS)):
            listing = await self._client.list(vault_layout.providers(tenant))
            for provider in vault_layout.folders(listing):
                ids = vault_layout.ids(await self._client.list(vault_layout.folder(tenant, provider)))
                names.extend(KeyName(tenant, provider, id) for id in ids)
        return sorted(names, key=str)
