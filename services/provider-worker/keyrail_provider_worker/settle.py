"""The last word on an attempt, as an event. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ConfigView
from keyrail.contracts.events import AttemptSettled, AttemptStarted, AttemptStatus, Standing
from keyrail.contracts.failures import Failure
from keyrail.contracts.signals import HoldSettled
from keyrail.contracts.slips import RACING, Slip
from keyrail.contracts.usage import Basis, Price, Usage
from keyrail.pricing import cost

NOT_BILLED = Price(cost_usd=Decimal(0), source="not-billed", basis="exact")
"""No request was written, or the provider answered with an error status: nobody bills these."""


@dataclass(slots=True)
class Course:
    """What happened to an attempt so far. Times are milliseconds since its start."""

    written: bool = False  # the request may have reached the provider
    http_status: int | None = None
    upstream_id: str | None = None
    first_byte_ms: int | None = None
    first_content_ms: int | None = None
    finish: str | None = None
    usage: Usage = Usage()  # noqa: RUF009 - frozen


def price(
    started: AttemptStarted,
    course: Course,
    view: ConfigView,
    usage: Usage | None = None,
    basis: Basis = "exact",
) -> Price:
    """What the attempt cost: nothing when nobody bills it, unknown when nobody can say.

    `view`: the configuration that it was made under, where the operator's prices are. `usage`: what counts
    instead of the course's own, on this `basis`.
    """
    if not billable(course):
        return NOT_BILLED
    counted = course.usage if usage is None else usage
    return cost.compared(
        started.provider, started.model, counted, started.started_ms, view, started.reference, basis
    )


def billable(course: Course) -> bool:
    """Whether the provider may bill it: the request was written, and not refused with an error status."""
    return course.written and (course.http_status is None or course.http_status < 400)


def settled(
    started: AttemptStarted,
    course: Course,
    failure: Failure | None,
    paid: Price,
    standing: Standing | None = None,
) -> AttemptSettled:
    """The event. `failure` None: the attempt succeeded."""
    now = now_ms()
    return AttemptSettled(
        started=started,
        status=_status(failure),
        failure=failure.kind if failure else None,
        detail=_detail(failure),
        http_status=course.http_status,
        finish=course.finish,
        upstream_id=course.upstream_id,
        usage=course.usage,
        price=paid,
        first_byte_ms=course.first_byte_ms,
        first_content_ms=course.first_content_ms,
        duration_ms=max(0, now - started.started_ms),
        settled_ms=now,
        standing=standing,
    )


def hold_settled(slip: Slip, cost_usd: Decimal | None, *, final: bool) -> HoldSettled | None:
    """What the router that holds money for this slip is told of its attempt; None when nobody does.

    Of a race, only its racer knows which message is the last.
    """
    if slip.hold is None:
        return None
    return HoldSettled(
        request_id=slip.request_id,
        epoch=slip.epoch,
        hop=slip.hop,
        cost_usd=cost_usd,
        held_usd=slip.hold.most[slip.position],
        final=final and slip.role not in RACING,
    )


def _status(failure: Failure | None) -> AttemptStatus:
    if failure is None:
        return "ok"
    return "cancelled" if failure.kind == "cancelled" else "failed"


def _detail(failure: Failure | None) -> str | None:
    """The provider's code; its message may quote the prompt and stays out of the ledger."""
    if failure is None:
        return None
    return failure.code or failure.kind
