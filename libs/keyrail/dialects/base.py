"""What a provider's flavour of a dialect may differ in."""

from __future__ import annotations

from keyrail.contracts.quirks import Extra, Quirks, Thoughts

__all__ = ["Extra", "Quirks", "Thoughts"]
