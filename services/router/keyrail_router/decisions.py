"""What was decided, for the ledger: a fact for each request that asked for a route."""

from __future__ import annotations

from keyrail.bus.connection import Bus
from keyrail.bus.events import EventPublisher
from keyrail.contracts import subjects
from keyrail.contracts.failures import Failure
from keyrail.contracts.routing import RequestRouted
from keyrail.contracts.slips import Slip
from keyrail.routing.decide import Decision
from keyrail.routing.world import name_of
from keyrail.telemetry import metrics


class Decisions:
    """Publishes them. While so many wait for JetStream that memory would run out, more are counted alone."""

    def __init__(self, bus: Bus) -> None:
        self._events = EventPublisher(bus, subjects.EVENT_ROUTED)
        self._router = bus.instance

    def start(self) -> None:
        """Start publishing."""
        self._events.start()

    async def stop(self) -> None:
        """Return once all are acknowledged."""
        await self._events.stop()

    def made(self, slip: Slip, decision: Decision, failure: Failure | None, draw: float, now_ms: int) -> None:
        """`failure`: why nothing came of it."""
        event = routed(slip, decision, failure, draw, self._router, now_ms)
        if event is None:
            return
        if self._events.clogged:
            metrics.DECISIONS_LOST.inc()
        else:
            self._events.post(event)


def routed(
    slip: Slip, decision: Decision, failure: Failure | None, draw: float, router: str, now_ms: int
) -> RequestRouted | None:
    """The fact of a decision; None where no route was asked for. `failure`: why nothing came of it."""
    route, plan = decision.route, decision.plan
    if route is None:
        return None
    event = RequestRouted(
        request_id=slip.request_id,
        epoch=slip.epoch,
        tenant=slip.tenant,
        key_id=slip.key_id,
        route=route.name,
        strategy=route.strategy,
        revision=plan.revision if plan is not None else 0,
        code=decision.code,
        reason=decision.reason,
        candidates=decision.candidates,
        draw=draw,
        facts=slip.facts,
        router=router,
        routed_ms=now_ms,
    )
    # Apart from the rest: CPython packs a call of more than 15 named arguments into a dictionary first.
    more: dict[str, object] = {"propensity": decision.propensity, "task": decision.task}
    if decision.worth is not None:
        more["worth"] = decision.worth
    if slip.team is not None or slip.feature is not None:
        more |= {"team": slip.team, "feature": slip.feature}
    if failure is None and plan is not None:
        more["targets"] = tuple([name_of(target) for target in plan.targets])
    elif failure is not None:
        more |= {"failure": failure.kind, "code": failure.code or failure.kind, "reason": failure.message}
    return event.replace(**more)
