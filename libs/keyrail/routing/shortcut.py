"""Decisions that follow from the configuration and the model's name, ready for the next request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyrail.config.allowed import allows, allows_targets
from keyrail.contracts.config import Abilities
from keyrail.contracts.slips import Facts, Plan
from keyrail.routing.decide import Decision
from keyrail.routing.gates import abilities, unable


@dataclass(frozen=True, slots=True)
class Ready:
    """A decision in which every gate was open. `least`: what each of its targets can do at least."""

    decision: Decision
    plan: Plan
    least: Abilities

    def fits(self, facts: Facts) -> bool:
        """Whether no gate of a target's abilities closes for this request."""
        return unable(self.least, facts) is None

    def allowed(self, models: Sequence[str], name: str) -> bool:
        """Whether a virtual key with these patterns surely may ask for it."""
        return allows(models, name) or allows_targets(models, self.plan.targets)


def ready(decision: Decision) -> Ready | None:
    """None where the decision holds for its own request alone."""
    if not decision.fixed or decision.plan is None:
        return None
    if decision.route is not None:
        known = [abilities(each.target, each.abilities) for each in decision.route.targets]
    else:
        known = [abilities(target, None) for target in decision.plan.targets]
    return Ready(decision, decision.plan, _least(known))


def _least(known: Sequence[Abilities]) -> Abilities:
    windows = [each.window for each in known if each.window is not None]
    return Abilities(
        tools=False if any(each.tools is False for each in known) else None,
        vision=False if any(each.vision is False for each in known) else None,
        json_schema=False if any(each.json_schema is False for each in known) else None,
        window=min(windows, default=None),
    )
