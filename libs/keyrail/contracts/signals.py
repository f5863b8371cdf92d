"""Small control messages on core NATS: liveness and cancels."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from keyrail.contracts.base import Contract


class Alive(Contract, frozen=True, kw_only=True):
    """Each instance says this every second on `alive(service)`, and once more with `leaving` when it goes.

    `streams` (provider-worker and racer): request id to (epoch, hop, last sequence sent), so that a lost last
    frame shows too. Of a contender in a race the key is `contender(request id, hop)`.
    """

    service: str
    instance: str
    sent_ms: int
    ready: bool = True
    leaving: bool = False
    streams: dict[str, tuple[int, int, int]] = {}


def contender(request_id: str, hop: int) -> str:
    """The key of a contender's attempt in `Alive.streams`: one request has several at once."""
    return f"{request_id}.{hop}"


class Cancel(Contract, frozen=True, kw_only=True):
    """Ingress or racer to one worker: stop all attempts of this request up to and including `epoch` and
    `hop`.

    Of a race, with `standing`, it is about the one contender that `epoch` and `hop` belong to (RACE_HOPS):
    `won` stops nothing, `lost` stops it, or with `drain` lets it run to its end with nobody to send it to.
    """

    request_id: str
    epoch: int
    hop: int
    reason: str
    standing: Literal["won", "lost"] | None = None
    drain: bool = False


class HoldSettled(Contract, frozen=True, kw_only=True):
    """Worker to the router that reserved for a request, in a JSON array: an attempt has ended.

    `final`: none follows it. `attempts`: of a race, whose racer says at its end how many messages there are
    in all, this one included; its workers never say `final`.
    `cost_usd` None: unknown, so that the most the attempt could cost, `held_usd`, stays spent.
    """

    request_id: str
    epoch: int
    hop: int
    cost_usd: Decimal | None = None
    held_usd: Decimal | None = None
    final: bool = True
    attempts: int | None = None


class KeyTest(Contract, frozen=True, kw_only=True):
    """Control to any worker: try this key with a call that costs nothing, and take it back in if it works."""

    tenant: str
    provider: str
    id: str


class KeyTested(Contract, frozen=True, kw_only=True):
    """The answer. `status` is the provider's, None when it was not reached; `detail` is a sentence."""

    result: Literal["ok", "refused", "failed", "missing"]
    status: int | None = None
    detail: str = ""
