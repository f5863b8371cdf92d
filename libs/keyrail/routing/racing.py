"""How the first targets of a plan race: what of it follows from the configuration and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keyrail.contracts.config import ConfigView, RaceRule, RouteConfig
from keyrail.contracts.slips import Facts, Race
from keyrail.routing import costs
from keyrail.routing.gates import Option

DELAY_S: Final = 2.0
"""Until a hedge starts, where neither the configuration says it nor enough was measured."""
LEAST: Final = 20
"""Samples that a high quantile needs."""


def race(
    route: RouteConfig, options: Sequence[Option], facts: Facts, now_ms: int, view: ConfigView
) -> Race | None:
    """None: nothing to race, by the route or because there is one target alone. The extra spend that is left
    is not known here."""
    rule = route.race
    if rule is None and route.strategy == "race":
        rule = RaceRule(mode="first")
    if rule is None or len(options) < 2 or facts.operation != "generate":
        return None
    delays: tuple[float, ...] = ()
    if rule.mode == "hedge":
        delays = tuple(_delay(rule, each) for each in options[: min(rule.most, len(options)) - 1])
    return Race(
        mode=rule.mode,
        most=rule.most,
        delays_s=delays,
        within_s=rule.within_s,
        drain=rule.drain,
        most_usd=tuple(costs.most(each.target, facts, now_ms, view) for each in options),
    )


def _delay(rule: RaceRule, waited_for: Option) -> float:
    """How long this target is waited for before the next one starts."""
    if rule.delay_s is not None:
        return rule.delay_s
    known = waited_for.latency
    if known is None or len(known.seconds) < LEAST:
        return DELAY_S
    return known.quantile(rule.quantile)
