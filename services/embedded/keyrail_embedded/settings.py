"""The environment of the embedded stack."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from keyrail.http import tls


class EmbeddedSettings(BaseSettings):
    """KEYRAIL_PORT, KEYRAIL_HOME, KEYRAIL_CONFIG (default: keyrail.yaml where it exists), a certificate."""

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_")

    port: int = 8080
    home: Path = Path(".keyrail")
    config: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None

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
