"""Small control messages on core NATS: liveness and cancels."""

from __future__ import annotations

from keyrail.contracts.base import Contract


class Alive(Contract, frozen=True, kw_only=True):
    """Each instance says this every second on `alive(service)`, and once more with `leaving` when it goes.

    `streams` (provider-worker only): request id to (epoch, hop, last sequence sent), so that a lost last
    frame shows too.
    """

    service: str
    instance: str
    sent_ms: int
    ready: bool = True
    leaving: bool = False
    streams: dict[str, tuple[int, int, int]] = {}


class Cancel(Contract, frozen=True, kw_only=True):
    """Ingress to one worker: stop all attempts of this request up to and including `epoch` and `hop`."""

    request_id: str
    epoch: int
    hop: int
    reason: str
