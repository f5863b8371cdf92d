"""Where provider keys are kept: the environment of the two services that hold a key store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/keyrail/vault-token")


class KeyStoreSettings(BaseSettings):
    """Vault when `vault_addr` is set, else the keystore. Credentials are files, read anew at each login.

    `vault_role_id_file` and `vault_secret_id_file` are for AppRole, `vault_role` and `vault_jwt_file` (a
    projected token of the service account) for Kubernetes; `vault_auth_mount` None: their default.
    TTLs are in seconds: after the soft one values are confirmed in the background, after the hard one
    without any confirmation they are no longer used.
    """

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_")

    keystore: Path = Path(".keyrail/keystore")
    vault_addr: str | None = None
    vault_mount: str = "llm"
    vault_namespace: str | None = None
    vault_ca_file: Path | None = None
    vault_auth: Literal["approle", "kubernetes"] = "approle"
    vault_auth_mount: str | None = None
    vault_role_id_file: Path | None = None
    vault_secret_id_file: Path | None = None
    vault_role: str | None = None
    vault_jwt_file: Path = SERVICE_ACCOUNT_TOKEN
    vault_soft_ttl_s: float = Field(default=60.0, gt=0)
    vault_hard_ttl_s: float = Field(default=86_400.0, gt=0)

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        if self.vault_addr is None:
            return self
        if self.vault_auth == "kubernetes" and not self.vault_role:
            raise ValueError("KEYRAIL_VAULT_AUTH=kubernetes needs KEYRAIL_VAULT_ROLE")
        if self.vault_auth == "approle" and not (self.vault_role_id_file and self.vault_secret_id_file):
            raise ValueError(
                "KEYRAIL_VAULT_AUTH=approle needs KEYRAIL_VAULT_ROLE_ID_FILE and KEYRAIL_VAULT_SECRET_ID_FILE"
            )
        if self.vault_hard_ttl_s < self.vault_soft_ttl_s:
            raise ValueError("KEYRAIL_VAULT_HARD_TTL_S is shorter than KEYRAIL_VAULT_SOFT_TTL_S")
        return self


class KeyReaderSettings(KeyStoreSettings):
    """`identity_file` is the private half of the keystore: only provider-worker is given its path."""

    identity_file: Path = Path(".keyrail/identity.key")
