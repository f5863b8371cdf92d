"""Admin keys of providers, with which reports are fetched: apart from the keys that calls are made with.

Under another identity, in another directory; or at `admin/<provider>` of the Vault mount, where the roles of
provider-worker and control reach nothing. Only a command that fetches a report, or stores such a key, opens
this store, and only for as long as it runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from keyrail.keys import keystore
from keyrail.keys.base import (
    NAME,
    KeyDamaged,
    KeyName,
    KeyNotFound,
    check_name,
    check_value,
)
from keyrail.keys.report_settings import ReportKeySettings
from keyrail.keys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from keyrail.keys.vault_client import VaultClient

FOLDER: Final = "admin"
_ID: Final = "reports"


class ReportKeys(Protocol):
    """One key for each provider. All raise KeyStoreError."""

    async def put(self, provider: str, value: Secret) -> None:
        """Store a key durably, in place of the one that is there."""
        ...

    async def value(self, provider: str) -> Secret:
        """The key. Raises KeyNotFound."""
        ...

    async def remove(self, provider: str) -> None:
        """Remove it. Raises KeyNotFound."""
        ...

    async def providers(self) -> list[str]:
        """Which there are, in order."""
        ...


def opened(settings: ReportKeySettings) -> AbstractAsyncContextManager[ReportKeys]:
    """The store of the settings: Vault where an address is set, else files."""
    return _opened(settings)


@asynccontextmanager
async def _opened(settings: ReportKeySettings) -> AsyncGenerator[ReportKeys]:
    vault = settings.vault()
    if vault is None or vault.vault_addr is None:
        yield FileKeys(settings.directory, settings.identity)
        return
    from keyrail.keys import vault_client  # hvac is slow to import

    client = vault_client.connect(vault, vault.vault_addr)
    try:
        yield VaultKeys(client)
    finally:
        await client.close()


class FileKeys:
    """A keystore of its own, made when the first key is put."""

    def __init__(self, directory: Path, identity: Path) -> None:
        self._directory = directory
        self._identity = identity

    async def put(self, provider: str, value: Secret) -> None:
        """Store."""
        keystore.create(self._directory, self._identity)
        await keystore.KeystoreWriter(self._directory).put(FOLDER, provider, _ID, value)

    async def value(self, provider: str) -> Secret:
        """Read."""
        name = KeyName(FOLDER, provider, _ID)
        if not self._directory.exists():
            raise _missing(provider)
        reader = keystore.KeystoreReader(self._directory, self._identity)
        try:
            return await reader.value(name)
        except KeyNotFound:
            raise _missing(provider) from None

    async def remove(self, provider: str) -> None:
        """Remove."""
        check_name("provider", provider)
        if not self._directory.exists():
            raise _missing(provider)
        try:
            await keystore.KeystoreWriter(self._directory).delete(FOLDER, provider, _ID)
        except KeyNotFound:
            raise _missing(provider) from None

    async def providers(self) -> list[str]:
        """List."""
        if not self._directory.exists():
            return []
        names = await keystore.KeystoreWriter(self._directory).list()
        return [name.provider for name in names if (name.tenant, name.id) == (FOLDER, _ID)]


class VaultKeys:
    """`admin/<provider>` of the mount: {api_key}. Calls log in when they need to."""

    def __init__(self, client: VaultClient) -> None:
        self._client = client

    async def put(self, provider: str, value: Secret) -> None:
        """Store."""
        check_name("provider", provider)
        check_value(value, 1)
        await self._client.write(vault_path(provider), lambda: {"api_key": value.reveal()})

    async def value(self, provider: str) -> Secret:
        """Read."""
        check_name("provider", provider)
        found = await self._client.read(vault_path(provider))
        if found is None:
            raise _missing(provider)
        key = found[1].get("api_key")
        if type(key) is not str or not key.strip():
            raise KeyDamaged(f"{vault_path(provider)}: has no api_key")
        value = Secret(key.strip())
        check_value(value, 1)
        return value

    async def remove(self, provider: str) -> None:
        """Remove."""
        if provider not in await self.providers():
            raise _missing(provider)
        await self._client.remove(vault_path(provider))

    async def providers(self) -> list[str]:
        """List."""
        return _names(await self._client.list(FOLDER))


def vault_path(provider: str) -> str:
    """Where the key is in the mount."""
    return f"{FOLDER}/{provider}"


def _names(listing: Iterable[object]) -> list[str]:
    return sorted(each for each in listing if isinstance(each, str) and NAME.fullmatch(each))


def _missing(provider: str) -> KeyNotFound:
    return KeyNotFound(
        f"there is no admin key of {provider}: `keyrail report-keys add {provider}` stores one"
    )
