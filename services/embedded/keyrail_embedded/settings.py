"""The environment of the embedded stack."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class EmbeddedSettings(BaseSettings):
    """KEYRAIL_PORT, KEYRAIL_HOME, KEYRAIL_CONFIG (default: keyrail.yaml where it exists)."""

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_")

    port: int = 8080
    home: Path = Path(".keyrail")
    config: Path | None = None

    def config_file(self) -> Path | None:
        """The configuration to use, if there is one."""
        if self.config is not None:
            return self.config
        default = Path("keyrail.yaml")
        return default if default.exists() else None
