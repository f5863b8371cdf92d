"""Plans for requests: what follows from the name alone is kept, everything else is decided anew each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from keyrail.contracts.config import ConfigView
from keyrail.contracts.slips import Slip
from keyrail.dialects import conversation, json_text
from keyrail.routing import shortcut
from keyrail.routing.decide import Decision, decide
from keyrail.routing.shortcut import Ready
from keyrail.routing.text import Features, features
from keyrail.routing.world import Asked, name_of
from keyrail.telemetry import metrics
from keyrail_router.tuner import Tuner
from keyrail_router.world import RouterWorld

MOST_PLANS: Final = 1_024

Owner = Callable[[str], str | None]


@dataclass(slots=True)
class Prompt:
    """The text of a request, read when it is first asked for."""

    slip: Slip
    body: bytes

    def features(self) -> Features | None:
        """None where there is no text, or the body can't be read."""
        try:
            value = json_text.parse(self.body)
        except ValueError:
            return None
        if type(value) is not dict:
            return None
        text = conversation.asked(self.slip.facts.dialect, value)
        return features(text) if text else None


class Planner:
    """Decides with the configuration and the world as they are now."""

    def __init__(
        self, view: Callable[[], ConfigView], world: RouterWorld, tuner: Tuner, owner: Owner
    ) -> None:
        self._view = view
        self._world = world
        self._tuner = tuner
        self._owner = owner
        self._planned_for: ConfigView | None = None
        self._ready: dict[str, Ready] = {}
        self._restricted: frozenset[str] = frozenset()

    def plan(
        self, slip: Slip, body: bytes, draw: float, now_ms: int, below_usd: Decimal | None = None
    ) -> Decision:
        """`below_usd`: see Asked."""
        view = self._view()
        if view is not self._planned_for:
            self._planned_for = view
            self._ready.clear()
            self._restricted = frozenset(name for name, each in view.tenants.items() if each.providers)
        if below_usd is None and (decision := self._known(slip, now_ms)) is not None:
            return decision
        asked = Asked(
            facts=slip.facts,
            tenant=slip.tenant,
            models=slip.models,
            feature=slip.feature,
            draw=draw,
            prompt=Prompt(slip, body).features,
            below_usd=below_usd,
            owner=self._owner,
        )
        decision = decide(view, asked, self._world, now_ms)
        if decision.fixed and len(self._ready) < MOST_PLANS:
            kept = shortcut.ready(decision)
            if kept is not None:
                self._ready[slip.facts.model] = kept
        return decision

    def note(self, slip: Slip, decision: Decision, now_ms: int) -> None:
        """The request is forwarded as decided."""
        plan, route = decision.plan, decision.route
        assert plan is not None
        self._world.sent(slip.tenant, plan.targets[0], slip.facts)
        if not decision.fixed:
            _count(decision)
            self._tuner.saw(slip.tenant, decision)
        if decision.conversation is not None and route is not None:
            until_ms = now_ms + route.stick_s * 1_000
            name = name_of(plan.targets[0])
            self._world.stickiness.note(slip.tenant, route.name, decision.conversation, name, until_ms)

    def _known(self, slip: Slip, now_ms: int) -> Decision | None:
        kept = self._ready.get(slip.facts.model)
        if kept is None or slip.tenant in self._restricted or not kept.fits(slip.facts):
            return None
        if slip.models and not kept.allowed(slip.models, slip.facts.model):
            return None
        if not self._world.calm(slip.tenant, kept.plan.targets, slip.facts, now_ms):
            return None
        return kept.decision


def _count(decision: Decision) -> None:
    """Whether a target was passed over for how it is."""
    gates = {each.gate for each in decision.candidates}
    for why in ("breaker", "limits"):
        if why in gates:
            metrics.counter(metrics.STEERED, why).inc()
    if decision.code == "coming-back":
        metrics.counter(metrics.STEERED, "ramp").inc()
