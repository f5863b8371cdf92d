"""Where the ledger is, and how it is laid out."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from keyrail_cost_accounting.layout import Layout
from keyrail_cost_accounting.ledger import ClickHouse, open_ledger

Migrate = Literal["auto", "check"]


class ServerSettings(BaseSettings):
    """Environment variables with the prefix `KEYRAIL_`, which mean nothing to an embedded ledger.

    `ledger_cluster` and `ledger_replicated` are for servers of one's own that are several.
    """

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_", frozen=True)

    ledger_user: str | None = None
    ledger_password: SecretStr = SecretStr("")
    ledger_cluster: str | None = None
    ledger_replicated: bool = False

    def layout(self) -> Layout:
        """Raises ValueError for a name that no cluster has."""
        return Layout(self.ledger_cluster, self.ledger_replicated)

    def open(self, where: str) -> ClickHouse:
        """An http(s) URL whose path is the database, or a directory. Raises LedgerUnavailable."""
        return open_ledger(where, user=self.ledger_user, password=self.ledger_password.get_secret_value())


class LedgerSettings(ServerSettings):
    """Of a command: `ledger` is a URL or a directory, None for the one in the home."""

    ledger: str | None = None


class Settings(ServerSettings):
    """Of the service: `ledger` is a URL, or the directory of an embedded ledger, which this process owns.

    `ledger_migrate`: `auto` applies migrations at start, `check` waits until somebody has. Without it `auto`
    for a directory, and `check` for a URL.
    """

    ledger: str
    ledger_migrate: Migrate | None = None
    sweep_after_s: float = 15.0
