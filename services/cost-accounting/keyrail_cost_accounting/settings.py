"""Where the ledger is, and how it is laid out."""

from __future__ import annotations

from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from keyrail_cost_accounting.layout import Layout
from keyrail_cost_accounting.ledger import ClickHouse, open_ledger

Migrate = Literal["auto", "check"]


class LedgerSettings(BaseSettings):
    """Environment variables with the prefix `KEYRAIL_`.

    `ledger` is an http(s) URL whose path is the database, or a directory. `cluster` and
    `replicated` are for servers of one's own that are several: see docs/ledger.md.
    """

    model_config = SettingsConfigDict(env_prefix="KEYRAIL_", frozen=True)

    ledger: str | None = None
    ledger_user: str | None = None
    ledger_password: SecretStr = SecretStr("")
    ledger_cluster: str | None = None
    ledger_replicated: bool = False

    def layout(self) -> Layout:
        """Raises ValueError for a name that no cluster has."""
        return Layout(self.ledger_cluster, self.ledger_replicated)

    def open(self) -> ClickHouse:
        """Raises LedgerUnavailable."""
        assert self.ledger is not None
        return open_ledger(
            self.ledger, user=self.ledger_user, password=self.ledger_password.get_secret_value()
        )


class Settings(LedgerSettings):
    """Of the service. `ledger_migrate`: `auto` applies migrations at start, `check` waits until somebody has.

    Without it, `auto` for a directory, which this process owns, and `check` for a server.
    """

    ledger: str  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    ledger_migrate: Migrate | None = None
    sweep_after_s: float = 15.0
