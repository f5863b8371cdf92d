"""Which requests need help: the decisions about lost workers, lost frames and passed deadlines. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keyrail_ingress.exchange import Exchange

SILENT_S = 4.3
"""A worker not heard for so long is given up. More than TAKE_BY_MS and one beat: a paused worker that wakes
up finds its slips' time over and makes no paid call."""
SLACK_MS = 250
"""Clocks of two machines may differ by this much."""
PROBE_AFTER_S = 1.3
"""A worker silent for so long is asked whether its connection still exists."""
MAX_DISPATCHES = 3
MISSING_BEATS = 3
MISSING_BEATS_AWAY = 1
"""Where the bus was away since the worker took the slip, frames do get lost: one beat says which."""

Verdict = Literal["wait", "probe", "expired", "not-taken", "worker-lost", "frames-lost"]


@dataclass(frozen=True, slots=True)
class Beat:
    """What is known of the worker of an exchange: seconds since its last beat, what that beat said of it."""

    silent_s: float
    gone: bool = False  # its connection is known not to exist
    heard_at: float = 0.0
    last_sent: tuple[int, int, int] | None = None  # (epoch, hop, sequence) as of that beat


def calm(exchange: Exchange, now: float, now_ms: int) -> bool:
    """Whether `verdict` says "wait" whatever the beats say, as for most requests: they are young.

    Unless the connection of its worker is known not to exist.
    """
    if now_ms > exchange.slip.deadline_ms:
        return False
    if exchange.worker is None:
        return now_ms <= exchange.take_by_ms + SLACK_MS
    return now - exchange.taken_at < PROBE_AFTER_S


def verdict(exchange: Exchange, beat: Beat | None, now: float, now_ms: int) -> Verdict:
    """What to do about an unfinished exchange. `now` is monotonic, `now_ms` the wall clock."""
    if now_ms > exchange.slip.deadline_ms:
        return "expired"
    if exchange.worker is None or beat is None:
        return "not-taken" if now_ms > exchange.take_by_ms + SLACK_MS else "wait"
    if beat.gone or beat.silent_s > SILENT_S:
        return "worker-lost"
    if beat.silent_s > PROBE_AFTER_S:
        return "probe"
    return "frames-lost" if _lost(exchange, beat) else "wait"


def _lost(exchange: Exchange, beat: Beat) -> bool:
    """Whether the worker sent more than arrived, or has finished what never ended here."""
    if beat.heard_at < exchange.taken_at + 1.5:
        return False
    if beat.last_sent is None or beat.last_sent[:2] > exchange.order:
        return True
    return beat.last_sent[:2] == exchange.order and beat.last_sent[2] >= exchange.expected
