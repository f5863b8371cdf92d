"""What a provider is: where it lives, how it wants to be asked, which models are its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from keyrail.contracts.config import Auth, ProviderConfig
from keyrail.contracts.quirks import Quirks
from keyrail.contracts.slips import Dialect

__all__ = ["Provider", "Quirks"]

Cancelled = Literal["stops-billing", "bills-whole", "unknown"]
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. Raises ValueError for a name or base URL that can't be used.

    `base_url` is as in ProviderConfig; it may be empty when the configuration gives it. `dialect`: what it is
    asked in by a client of another one; `speaks`: what else it takes as it is. `env`: variables that may
    bring its
    key in. `owns`: patterns of bare model names that mean this provider. `models`: fixed names, for a
    provider that
    no price catalogue lists. `reports_cost`: its usage says what was billed. `cancelled`: what it bills for a
    stream
    that is broken off. `key_path` is as in ProviderConfig, for a provider whose list of models is open to
    all.
    """

    name: str
    base_url: str
    dialect: Dialect = "openai-chat"
    speaks: tuple[Dialect, ...] = ()
    auth: Auth = "bearer"
    env: tuple[str, ...] = ()
    owns: tuple[str, ...] = ()
    needs_key: bool = True
    quirks: Quirks = field(default_factory=Quirks)
    models: tuple[str, ...] = ()
    reports_cost: bool = False
    cancelled: Cancelled = "unknown"
    key_path: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a provider's name is lower-case letters, digits and hyphens, not {self.name!r}"
            )
        if self.base_url and not re.match(r"https?://[^/\s]+", self.base_url):
            raise ValueError(f"the base URL of {self.name} must begin with http:// or https://")

    def config(self, base_url: str = "") -> ProviderConfig:
        """As the configuration has it, at another place where one is given."""
        return ProviderConfig(
            name=self.name,
            dialect=self.dialect,
            speaks=self.speaks,
            base_url=(base_url or self.base_url).rstrip("/"),
            needs_key=self.needs_key,
            auth=self.auth,
            key_path=self.key_path,
            quirks=self.quirks,
        )
