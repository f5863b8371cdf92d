"""Which open attempts are lost: those whose worker has not been heard from. Pure.

Times are milliseconds of this process' monotonic clock. Only time in which this process itself listened
counts, and an attempt's age never does: a slow answer is not a lost one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt that the ledger still shows as running."""

    attempt_id: str
    worker: str


def sweep(
    open_attempts: Iterable[OpenAttempt],
    last_heard: Mapping[str, int],
    now_ms: int,
    listening_since_ms: int,
    silence_ms: int = 15_000,
) -> list[str]:
    """Ids of the attempts to settle as lost: their worker was silent for longer than `silence_ms`."""
    return [
        attempt.attempt_id
        for attempt in open_attempts
        if now_ms - max(last_heard.get(attempt.worker, 0), listening_since_ms) > silence_ms
    ]


@dataclass(slots=True)
class Hearing:
    """What this process has heard, and since when it has listened without a gap."""

    gap_ms: int = 3_000
    listening_since_ms: int | None = None
    last_tick_ms: int = 0

    def tick(self, now_ms: int, *, connected: bool) -> None:
        """Say, every second, that this process runs. After a pause or disconnection listening starts anew."""
        if not connected:
            self.listening_since_ms = None
        elif self.listening_since_ms is None or now_ms - self.last_tick_ms > self.gap_ms:
            self.listening_since_ms = now_ms
        self.last_tick_ms = now_ms

    def interrupted(self) -> None:
        """The connection was lost, and may be back already."""
        self.listening_since_ms = None
