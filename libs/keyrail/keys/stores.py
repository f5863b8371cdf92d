"""Which key store there is: Vault where an address is set, else the keystore."""

from __future__ import annotations

from keyrail.keys.base import KeyReader, KeyWriter
from keyrail.keys.keystore import KeystoreReader, KeystoreWriter
from keyrail.keys.settings import KeyReaderSettings, KeyStoreSettings


def reader(settings: KeyReaderSettings) -> KeyReader:
    """To be opened before it is asked. Raises KeyStoreUnavailable when there is no keystore."""
    if settings.vault_addr is None:
        return KeystoreReader(settings.keystore, settings.identity_file)
    from keyrail.keys import (
        vault_client,
        vault_reader,
    )  # hvac takes 0.2 s and 10 MiB that others need not pay

    client = vault_client.connect(settings, settings.vault_addr)
    return vault_reader.VaultReader(
        client, soft_ttl_s=settings.vault_soft_ttl_s, hard_ttl_s=settings.vault_hard_ttl_s
    )


def writer(settings: KeyStoreSettings) -> KeyWriter:
    """To be opened before it is asked. Raises KeyStoreUnavailable when there is no keystore."""
    if settings.vault_addr is None:
        return KeystoreWriter(settings.keystore)
    from keyrail.keys import vault_client, vault_writer

    return vault_writer.VaultWriter(vault_client.connect(settings, settings.vault_addr))
