"""Where control finds what it publishes."""

from __future__ import annotations

from pathlib import Path

from keyrail.keys.settings import KeyStoreSettings
from keyrail.runtime.settings import ServiceSettings


class ControlSettings(ServiceSettings, KeyStoreSettings):
    """`admin_port` counts only without an inherited socket; `sandbox_url` None: there is no sandbox."""

    admin_port: int = 0
    config: Path | None = None
    sandbox_url: str | None = None

    @property
    def admin_token_file(self) -> Path:
        """The bearer token of the admin API, made by whoever made the home."""
        return self.home / "admin.token"

    @property
    def default_key_file(self) -> Path:
        """The first virtual key."""
        return self.home / "default.key"
