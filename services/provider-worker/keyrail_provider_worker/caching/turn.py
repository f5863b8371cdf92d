"""What the cache has to say of one attempt, and what the attempt has to say to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from keyrail.caching.eligible import MOST_ANSWER, Reason
from keyrail.caching.entry import Entry
from keyrail.contracts.base import now_ms
from keyrail.contracts.slips import CacheRule, Dialect

SHOWN: Final = 16
"""Digits of a key that are shown: enough to compare two answers by."""

Headers = tuple[tuple[str, str], ...]


class Tape:
    """The provider's bytes of one answer, until they are too many."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        """More of it."""
        self._size += len(data)
        if self._size <= MOST_ANSWER:
            self._parts.append(data)
        else:
            self._parts.clear()

    def whole(self) -> bytes | None:
        """All of it; None when it was too much."""
        return b"".join(self._parts) if self._size <= MOST_ANSWER else None


@dataclass(slots=True)
class Hit:
    """A kept answer, and its bytes for this client."""

    entry: Entry
    body: bytes


@dataclass(slots=True)
class Turn:
    """`tape` None: the answer of this attempt is not to be kept. `leads`: others may wait for it."""

    state: Literal["hit", "miss", "bypass"]
    rule: CacheRule
    spoken: Dialect
    name: str = ""  # <tenant>.<key>
    reason: Reason | None = None
    hit: Hit | None = None
    tape: Tape | None = None
    leads: bool = False
    headers: Headers = field(init=False)

    def __post_init__(self) -> None:
        headers = [("x-keyrail-cache", self.state)]
        if self.reason is not None:
            headers.append(("x-keyrail-cache-reason", self.reason))
        if self.name:
            headers.append(("x-keyrail-cache-key", self.name.rpartition(".")[2][:SHOWN]))
        if self.hit is not None:
            headers.append(("age", str(max(0, now_ms() - self.hit.entry.made_ms) // 1000)))
        self.headers = tuple(headers)
