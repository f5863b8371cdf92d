"""Where the ledger is."""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables with the prefix `KEYRAIL_`.

    `ledger` is a directory (embedded, this process owns it), or an http(s) URL whose path is the database.
    """

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_", frozen=True)

    ledger: str
    ledger_user: str | None = None
    ledger_password: SecretStr = SecretStr("")
    sweep_after_s: float = 15.0
