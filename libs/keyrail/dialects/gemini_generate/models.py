"""What differs between the models: only their names tell."""

from __future__ import annotations

import re
from functools import lru_cache

_VERSION = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?(?:-|$)")
_NEWEST = (999, 0)


@lru_cache(maxsize=512)
def version(model: str) -> tuple[int, int] | None:
    """Major and minor of a Gemini model; aliases like gemini-flash-latest are newer than all.

    None: no Gemini, or one whose name does not say.
    """
    name = model.rpartition("/")[2]
    if match := _VERSION.match(name):
        return int(match[1]), int(match[2] or 0)
    return _NEWEST if name.startswith("gemini-") and name.endswith("-latest") else None


def _least(model: str, *least: int) -> bool:
    found = version(model)
    return found is not None and found >= least


def needs_signatures(model: str) -> bool:
    """Whether a call in the history without its thought signature is refused."""
    return _least(model, 3, 0)


def thinks_by_level(model: str) -> bool:
    """Whether thinking is asked for by thinkingLevel."""
    return _least(model, 3, 0)


def thinks_by_budget(model: str) -> bool:
    """Whether thinking is asked for by thinkingBudget."""
    return _least(model, 2, 5) and not thinks_by_level(model)


def takes_media_in_results(model: str) -> bool:
    """Whether a functionResponse may hold images and documents."""
    return _least(model, 3, 0)


def takes_addresses(model: str) -> bool:
    """Whether the provider itself fetches what any http(s) URL names; the 2.0 family and older do not."""
    return _least(model, 2, 5)
