"""Where admin keys are kept: the environment of the commands that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from keyrail.keys.settings import SERVICE_ACCOUNT_TOKEN, KeyStoreSettings


class ReportKeySettings(BaseSettings):
    """`KEYRAIL_HOME`, or Vault when `KEYRAIL_VAULT_ADDR` is set: then by a role of its own.

    `vault_reports_approle`: the folder with its `role_id` and `secret_id`; `vault_reports_role`: its name for
    the Kubernetes method.
    """

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_", frozen=True)

    home: Path = Path(".keyrail")
    vault_addr: str | None = None
    vault_mount: str = "llm"
    vault_namespace: str | None = None
    vault_ca_file: Path | None = None
    vault_auth_mount: str | None = None
    vault_jwt_file: Path = SERVICE_ACCOUNT_TOKEN
    vault_reports_approle: Path | None = None
    vault_reports_role: str | None = None

    @property
    def directory(self) -> Path:
        """The keystore, where there is no Vault."""
        return self.home / "report-keys"

    @property
    def identity(self) -> Path:
        """What opens it; no service is given its path."""
        return self.home / "report-identity.key"

    @model_validator(mode="after")
    def _has_a_role(self) -> Self:
        if self.vault_addr is not None and not (self.vault_reports_approle or self.vault_reports_role):
            raise ValueError(
                "KEYRAIL_VAULT_ADDR needs KEYRAIL_VAULT_REPORTS_APPROLE or KEYRAIL_VAULT_REPORTS_ROLE"
            )
        return self

    def vault(self) -> KeyStoreSettings | None:
        """How to log in. What the environment says of the services' roles does not count."""
        if self.vault_addr is None:
            return None
        role = self.vault_reports_approle
        return KeyStoreSettings(
            vault_addr=self.vault_addr,
            vault_mount=self.vault_mount,
            vault_namespace=self.vault_namespace,
            vault_ca_file=self.vault_ca_file,
            vault_auth="approle" if role is not None else "kubernetes",
            vault_auth_mount=self.vault_auth_mount,
            vault_role_id_file=role / "role_id" if role is not None else None,
            vault_secret_id_file=role / "secret_id" if role is not None else None,
            vault_role=self.vault_reports_role,
            vault_jwt_file=self.vault_jwt_file,
        )
