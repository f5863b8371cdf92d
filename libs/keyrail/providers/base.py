"""What a provider is: where it lives, how it wants to be asked, which models are its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from keyrail.contracts.slips import Dialect
from keyrail.dialects.base import Quirks

__all__ = ["Provider", "Quirks"]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. Raises ValueError for a name or base URL that can't be used.

    `base_url` ends before `/chat/completions`; it may be empty when the configuration gives it. `env`:
    variables that may bring its key in. `owns`: patterns of bare model names that mean this provider.
    `models`: fixed names, for a provider that no price catalogue lists.
    """

    name: str
    base_url: str
    dialect: Dialect = "openai-chat"
    env: tuple[str, ...] = ()
    owns: tuple[str, ...] = ()
    needs_key: bool = True
    quirks: Quirks = field(default_factory=Quirks)
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a provider's name is lower-case letters, digits and hyphens, not {self.name!r}"
            )
        if self.base_url and not re.match(r"https?://[^/\s]+", self.base_url):
            raise ValueError(f"the base URL of {self.name} must begin with http:// or https://")

    def headers(self, key: str | None) -> dict[str, str]:
        """Headers that carry the key; none without one."""
        return {} if key is None else {"authorization": f"Bearer {key}"}
