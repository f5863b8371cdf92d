"""Which requests race, and what their contenders can cost. Pure."""

from __future__ import annotations

from keyrail.contracts.budgets import ZERO
from keyrail.contracts.config import ConfigView
from keyrail.contracts.slips import Facts, Slip
from keyrail.dialects import bounds, json_text
from keyrail.pricing.cost import SANDBOX
from keyrail.routing import costs


def races(slip: Slip) -> bool:
    """Whether this planned slip goes to a racer."""
    plan = slip.plan
    if plan is None or plan.race is None or len(plan.targets) < 2:
        return False
    return slip.facts.operation == "generate" and slip.facts.choices == 1


def ready(slip: Slip, body: bytes, view: ConfigView) -> Slip:
    """The slip with the most that each contender can cost: None where nobody can tell."""
    plan = slip.plan
    assert plan is not None
    assert plan.race is not None
    if slip.hold is not None:
        most = slip.hold.most
    else:
        facts = _bounded(slip.facts, body)
        most = tuple(
            ZERO if target.provider == SANDBOX else costs.most(target, facts, slip.received_ms, view)
            for target in plan.targets
        )
    return slip.replace(plan=plan.replace(race=plan.race.replace(most_usd=most)))


def _bounded(facts: Facts, body: bytes) -> Facts:
    if facts.input_tokens_most is not None or facts.max_output_tokens is None:
        return facts
    document = json_text.parse_or_none(body)
    if type(document) is not dict:
        return facts
    return facts.replace(input_tokens_most=bounds.most_input(document, facts, len(body)))
