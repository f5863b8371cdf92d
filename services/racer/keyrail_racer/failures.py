"""What a client is told when every contender failed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keyrail.contracts.failures import NO_WORKER, Failure, FailureKind

_TELLS_MOST: Final[tuple[FailureKind, ...]] = (
    "bad_request",
    "policy",
    "context",
    "rate",
    "capacity",
    "server",
    "timeout",
    "truncated",
    "garbage",
    "connection",
    "model_missing",
    "money",
    "auth",
    "no_key",
    "unavailable",
)
_RANK: Final = {kind: rank for rank, kind in enumerate(_TELLS_MOST)}
_NEVER: Final = 3_600.0


def best(failures: Sequence[Failure]) -> Failure:
    """What the caller can do something about first; then what passes soonest; of equals the first."""
    if not failures:
        return NO_WORKER
    return min(failures, key=lambda failure: (_RANK.get(failure.kind, len(_RANK)), _until(failure)))


def _until(failure: Failure) -> float:
    return _NEVER if failure.retry_after_s is None else failure.retry_after_s
