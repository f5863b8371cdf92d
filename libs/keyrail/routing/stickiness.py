"""Which target each conversation is with, so that the prompt caches of providers are of use. No clock."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MOST: Final = 50_000
"""Conversations kept in mind, about 15 MB; the one that was silent longest goes first."""

_Key = tuple[str, str, str]


class Stickiness:
    """By tenant, route and conversation; in the memory of one router.

    Another router does not know of it. It decides by itself, and comes to the same target where the strategy
    draws by conversation (weighted) or nothing has changed since (the others).
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[_Key, tuple[str, int]] = OrderedDict()

    def __len__(self) -> int:
        """How many conversations are kept in mind."""
        return len(self._known)

    def find(self, tenant: str, route: str, conversation: str, now_ms: int) -> str | None:
        """The target (`provider/model`), unless the conversation was silent for too long."""
        found = self._known.get((tenant, route, conversation))
        return found[0] if found is not None and now_ms < found[1] else None

    def note(self, tenant: str, route: str, conversation: str, target: str, until_ms: int) -> None:
        """A turn of it goes to this target; it stays there until then."""
        key = tenant, route, conversation
        self._known[key] = target, until_ms
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
