"""Plans with fewer targets, or in another order."""

from __future__ import annotations

from collections.abc import Sequence

from keyrail.contracts.slips import Plan


def permuted(plan: Plan, places: Sequence[int]) -> Plan:
    """The targets of these places, in this order, with all that the plan says of each of them."""
    changes: dict[str, object] = {"targets": tuple([plan.targets[place] for place in places])}
    if len(plan.windows) == len(plan.targets):
        changes["windows"] = tuple([plan.windows[place] for place in places])
    if len(plan.prefills) == len(plan.targets):
        changes["prefills"] = tuple([plan.prefills[place] for place in places])
    race = plan.race
    if race is not None and len(race.most_usd) == len(plan.targets):
        changes["race"] = race.replace(most_usd=tuple([race.most_usd[place] for place in places]))
    return plan.replace(**changes)
