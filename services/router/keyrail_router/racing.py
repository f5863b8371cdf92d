"""Which requests race, and what their contenders can cost. Pure."""

from __future__ import annotations

from keyrail.contracts.budgets import ZERO
from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.slips import Facts, Race, Slip
from keyrail.dialects import bounds, json_text
from keyrail.pricing.cost import SANDBOX
from keyrail_router import charging


def of(route: RouteConfig) -> Race | None:
    """How requests for this route race, as far as the configuration alone says it."""
    rule = route.race
    if rule is None:
        return Race(mode="first") if route.strategy == "race" else None
    delays = (rule.delay_s,) * (len(route.targets) - 1) if rule.delay_s is not None else ()
    return Race(mode=rule.mode, most=rule.most, delays_s=delays, within_s=rule.within_s, drain=rule.drain)


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
            ZERO if target.provider == SANDBOX else charging.most_of(target, facts, slip.received_ms, view)
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
