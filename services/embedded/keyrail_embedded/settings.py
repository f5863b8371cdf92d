"""The environment of the embedded stack."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from keyrail.http import tls
from keyrail.keys.settings import KeyStoreSettings
from keyrail_embedded.plan import Vault


class EmbeddedSettings(BaseSettings):
    """KEYRAIL_PORT, KEYRAIL_HOME, KEYRAIL_CONFIG (default: keyrail.yaml where it exists), a certificate, and
    where Vault is.

    With `vault_addr` there are two folders with the files `role_id` and `secret_id`: one of the AppRole that
    reads provider keys, one of the AppRole that writes them.
    """

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_")

    port: int = 8080
    home: Path = Path(".keyrail")
    config: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    vault_addr: str | None = None
    vault_mount: str | None = None
    vault_namespace: str | None = None
    vault_ca_file: Path | None = None
    vault_auth_mount: str | None = None
    vault_soft_ttl_s: float | None = None
    vault_hard_ttl_s: float | None = None
    vault_worker_approle: Path | None = None
    vault_control_approle: Path | None = None

    @model_validator(mode="after")
    def _both_roles(self) -> Self:
        if self.vault_addr is not None and not (self.vault_worker_approle and self.vault_control_approle):
            raise ValueError(
                "KEYRAIL_VAULT_ADDR needs KEYRAIL_VAULT_WORKER_APPROLE and KEYRAIL_VAULT_CONTROL_APPROLE"
            )
        return self

    def config_file(self) -> Path | None:
        """The configuration to use, if there is one."""
        if self.config is not None:
            return self.config
        default = Path("keyrail.yaml")
        return default if default.exists() else None

    def tls_files(self) -> tuple[Path, Path] | None:
        """Certificate and key, None for plain HTTP. Raises TlsError when they could not be used."""
        if tls.certificate(self.tls_cert_file, self.tls_key_file) is None:
            return None
        assert self.tls_cert_file is not None
        assert self.tls_key_file is not None
        return self.tls_cert_file.absolute(), self.tls_key_file.absolute()

    def vault(self) -> Vault | None:
        """What the services are told of Vault; None: the keystore holds the keys."""
        if self.vault_addr is None:
            return None
        assert self.vault_worker_approle is not None
        assert self.vault_control_approle is not None
        return Vault(
            worker=self._variables(self.vault_worker_approle),
            control=self._variables(self.vault_control_approle),
        )

    def key_writer(self, keystore: Path) -> KeyStoreSettings:
        """Where to put keys that come in by the environment, as control would."""
        if self.vault_control_approle is None or self.vault_addr is None:
            return KeyStoreSettings(keystore=keystore, vault_addr=None)
        told = self._variables(self.vault_control_approle)
        return KeyStoreSettings.model_validate(
            {name.removeprefix("KEYRAIL_").lower(): value for name, value in told.items()}
        )

    def _variables(self, role: Path) -> dict[str, str]:
        told = {
            "ADDR": self.vault_addr,
            "MOUNT": self.vault_mount,
            "NAMESPACE": self.vault_namespace,
            "CA_FILE": self.vault_ca_file and self.vault_ca_file.absolute(),
            "AUTH": "approle",
            "AUTH_MOUNT": self.vault_auth_mount,
            "SOFT_TTL_S": self.vault_soft_ttl_s,
            "HARD_TTL_S": self.vault_hard_ttl_s,
            "ROLE_ID_FILE": role.absolute() / "role_id",
            "SECRET_ID_FILE": role.absolute() / "secret_id",
        }
        return {f"KEYRAIL_VAULT_{name}": str(value) for name, value in told.items() if value is not None}
