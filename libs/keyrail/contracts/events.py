"""Events: facts for the ledger, on JetStream, at least once.

A message on `EVENT_ATTEMPT` or `EVENT_REQUEST` is a JSON array of events: publishers commit in groups, one
acknowledgement for all that came in while the last one was under way. Consumers merge rows by `rank`, so a
redelivered or reordered event changes nothing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from keyrail.contracts.base import Contract
from keyrail.contracts.failures import FailureKind
from keyrail.contracts.routing import RequestRouted, VerdictGiven
from keyrail.contracts.slips import Role
from keyrail.contracts.usage import Price, Usage

AttemptStatus = Literal["running", "ok", "failed", "cancelled", "lost"]
Standing = Literal["won", "lost"]
RequestStatus = Literal["ok", "failed", "cancelled"]

RANK_STARTED = 0
RANK_SWEPT = 1
RANK_SETTLED = 2


class AttemptStarted(Contract, frozen=True, kw_only=True, tag_field="event", tag="attempt.started"):
    """A call is about to be written. Published by provider-worker, its ack awaited before the call."""

    attempt_id: str
    request_id: str
    epoch: int
    hop: int
    tenant: str
    key_id: str  # the virtual key
    team: str | None = None
    feature: str | None = None
    route: str | None = None
    strategy: str
    revision: int
    provider: str
    model: str
    provider_key_id: str | None = None
    worker: str
    stream: bool = False
    started_ms: int
    received_ms: int | None = None  # of its request: the day and month whose budgets it counts towards
    router: str | None = None  # who holds `held_usd` for it, where a budget applies
    held_usd: Decimal | None = None  # the most that this attempt can cost
    number: int = 1  # 1: the first attempt of its request
    reference: str | None = None  # `provider/model` that its route is compared with
    role: Role = "serve"


class AttemptSettled(Contract, frozen=True, kw_only=True, tag_field="event", tag="attempt.settled"):
    """How an attempt ended and what it cost. Published by provider-worker, once, retried until acked."""

    started: AttemptStarted
    status: AttemptStatus
    failure: FailureKind | None = None
    detail: str | None = None  # a sentence without contents or secrets
    http_status: int | None = None
    finish: str | None = None
    upstream_id: str | None = None  # the provider's own request id
    usage: Usage = Usage()
    price: Price = Price()
    first_byte_ms: int | None = None  # since started_ms
    first_content_ms: int | None = None
    duration_ms: int
    settled_ms: int
    standing: Standing | None = None  # in a race; None: it was in none, or nobody said


class RequestFinished(Contract, frozen=True, kw_only=True, tag_field="event", tag="request.finished"):
    """A request left the gateway. Published by ingress, once per request that passed authentication."""

    request_id: str
    tenant: str
    key_id: str
    team: str | None = None
    feature: str | None = None
    model: str  # as the client named it
    dialect: str
    stream: bool
    status: RequestStatus
    http_status: int
    failure: FailureKind | None = None
    detail: str | None = None
    dispatches: int  # 1 and one more for every worker that was lost
    ingress: str
    received_ms: int
    first_byte_ms: int | None = None
    duration_ms: int


AlertKind = Literal["key-auth", "key-money", "budget-soft", "budget-hard", "other"]


class AlertRaised(Contract, frozen=True, kw_only=True, tag_field="event", tag="alert.raised"):
    """Somebody should look. `subject`: what it is about (a provider key's name, a budget's scope and period).

    The id follows from what it is about, so that one that is raised twice is one.
    """

    alert_id: str
    kind: AlertKind
    tenant: str
    subject: str
    detail: str  # a sentence without contents or secrets
    raised_by: str
    raised_ms: int


Event = AttemptStarted | AttemptSettled | RequestFinished | AlertRaised | RequestRouted | VerdictGiven
