"""What a race wants done. Whoever runs it does these, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keyrail.contracts.base import Contract
from keyrail.contracts.frames import Kind
from keyrail.contracts.signals import Cancel, HoldSettled
from keyrail.contracts.slips import Slip


@dataclass(frozen=True, slots=True)
class Start:
    """Forward this slip to the workers of its target; `contender` is its number."""

    contender: int
    slip: Slip


@dataclass(frozen=True, slots=True)
class Say:
    """A frame for the request's own inbox."""

    kind: Kind
    payload: bytes | Contract
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Tell:
    """A word for one worker."""

    worker: str
    cancel: Cancel


@dataclass(frozen=True, slots=True)
class TellRouter:
    """How many attempts there were, for the router that holds money for them."""

    router: str
    told: HoldSettled


Outcome = Literal["won", "failed", "broken", "cancelled"]


@dataclass(frozen=True, slots=True)
class Over:
    """The client has its answer, or will get none: `broken` is after its first part."""

    outcome: Outcome


Action = Start | Say | Tell | TellRouter | Over
