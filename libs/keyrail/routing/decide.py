"""Which targets serve a request, and in which order. Pure: no I/O, no clock; the draw is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from keyrail.config.allowed import allows, allows_targets
from keyrail.contracts.config import ConfigView, RouteConfig, SmartRule
from keyrail.contracts.failures import Failure
from keyrail.contracts.routing import Candidate, Gate
from keyrail.contracts.slips import Plan, Strategy, Target
from keyrail.routing import gates, naming, racing, strategies
from keyrail.routing.gates import Option
from keyrail.routing.refusals import missing, refusal
from keyrail.routing.strategies import Order
from keyrail.routing.tasks import task_of
from keyrail.routing.world import Asked, World, name_of, unread

FIXED: Final[frozenset[Strategy]] = frozenset({"direct", "alias", "fallback"})
"""Strategies whose plan follows from the configuration and the model's name, whatever is drawn."""
LAST_RESORT: Final[frozenset[Gate]] = frozenset({"keys", "breaker", "limits"})
"""Closed for a time only, and whoever calls looks again: these are at the end of a plan, for when everybody
else has failed."""
_SCORED: Final[frozenset[Strategy]] = frozenset({"cheapest", "fastest", "smart"})


class Decision(NamedTuple):
    """A plan or a failure, and why. `route` None: no route was asked for, so there is nothing to record.

    `candidates`: as RequestRouted has them. `conversation`: what its first target is to be noted under for
    `stick_s`, None where nothing sticks. `fixed`: it follows from the configuration and the model's name, as
    long as every gate is open. `worth`: as RequestRouted has it.
    """

    plan: Plan | None
    failure: Failure | None
    code: str
    reason: str
    route: RouteConfig | None = None
    task: str | None = None
    candidates: tuple[Candidate, ...] = ()
    propensity: float = 1.0
    conversation: str | None = None
    fixed: bool = False
    worth: float | None = None

    @property
    def strategy(self) -> str:
        """Of the plan, or of the route that had none."""
        if self.plan is not None:
            return self.plan.strategy
        return self.route.strategy if self.route is not None else "direct"


def decide(view: ConfigView, asked: Asked, world: World, now_ms: int) -> Decision:
    """What is to be done with a request under this configuration, as the world is."""
    meant = naming.meaning(view, asked.facts.model, asked.owner)
    if isinstance(meant, Failure):
        return _refused(meant)
    if isinstance(meant, naming.Direct):
        return _direct(view, asked, meant, world, now_ms)
    return _routed(view, asked, meant, world, now_ms)


def _direct(view: ConfigView, asked: Asked, meant: naming.Direct, world: World, now_ms: int) -> Decision:
    denied = _denied(asked, None, (meant.target,))
    if denied is not None:
        return _refused(denied)
    options = [gates.option(meant.target)]
    gates.close(options, view, asked, world, now_ms)
    if not (options[0].open or _unsure(options, asked) or _least_bad(options)):
        return _refused(refusal(asked.facts.model, options, asked.facts, now_ms))
    plan = Plan(
        strategy=meant.strategy,
        targets=(meant.target,),
        reason=meant.reason,
        revision=view.revision,
        windows=_windows(options),
    )
    fixed = options[0].open and options[0].share >= 1
    return Decision(plan, None, meant.strategy, meant.reason, fixed=fixed)


def _routed(view: ConfigView, asked: Asked, route: RouteConfig, world: World, now_ms: int) -> Decision:
    facts = asked.facts
    options = [
        gates.option(each.target, each.weight, each.abilities)
        for each in route.targets
        if each.weight > 0 or route.strategy != "weighted"
    ]
    configured = [each.target for each in options if each.target.provider in view.providers]
    if not configured:
        return _refused(missing(facts.model, "no target of this route has a configured provider"), route)
    denied = _denied(asked, route.name, configured)
    if denied is not None:
        return _refused(denied, route)
    gates.close(options, view, asked, world, now_ms)
    task = task_of(facts, asked.feature)
    able = [each for each in options if each.open] or _unsure(options, asked)
    order = None if able else _least_bad(options)
    if not able and order is None:
        failure = refusal(facts.model, options, facts, now_ms)
        return _refused(failure, route, task, options)
    _predict(view, asked, route, options, world, now_ms)
    if order is None:
        order = _order(asked, route, options, able, world, now_ms)
    last = [] if route.race is not None or route.strategy == "race" else _last_resort(options)
    every = (*order.options, *(each for each in last if each not in order.options))
    continues = route.mid_stream == "continue"
    reason = f"route {route.name}: {route.strategy}: {order.reason}{_left_out(options)}"
    plan = Plan(
        strategy=route.strategy,
        targets=tuple(each.target for each in every),
        route=route.name,
        reason=reason,
        revision=view.revision,
        reference=route.reference or route.targets[0].target,
        timeouts=route.timeouts,
        retries=route.retries,
        windows=_windows(every),
        prefills=tuple(each.abilities.prefill is True for each in every) if continues else (),
        mid_stream=route.mid_stream,
        race=racing.race(route, order.options, facts, now_ms, view) if able else None,
    )
    return Decision(
        plan,
        None,
        order.code,
        reason,
        route,
        task,
        _candidates(options),
        order.propensity,
        facts.conversation if route.stick_s > 0 else None,
        fixed=_fixed(route, options),
        worth=order.worth,
    )


def _fixed(route: RouteConfig, options: Sequence[Option]) -> bool:
    calm = all(each.open and each.share >= 1 for each in options)
    return calm and route.strategy in FIXED and not route.stick_s and route.race is None


def _order(
    asked: Asked,
    route: RouteConfig,
    options: Sequence[Option],
    able: Sequence[Option],
    world: World,
    now_ms: int,
) -> Order:
    sticky = _sticky(asked, route, able, world, now_ms)
    ordered = _by_strategy(asked, route, options, able, world, now_ms, known=sticky is not None)
    if sticky is None:
        return ordered
    rest = tuple(each for each in ordered.options if each is not sticky)
    said = f"the conversation is with {sticky.name}"
    return Order((sticky, *rest), "sticky", said, worth=ordered.worth)


def _by_strategy(
    asked: Asked,
    route: RouteConfig,
    options: Sequence[Option],
    able: Sequence[Option],
    world: World,
    now_ms: int,
    *,
    known: bool,
) -> Order:
    """`known`: the first one is known already, so that nothing dear is done to find it."""
    draw = asked.draw
    match route.strategy:
        case "weighted":
            return strategies.weighted(able, draw, asked.facts.conversation if route.stick_s else None)
        case "cheapest":
            return strategies.cheapest(able, draw)
        case "fastest":
            return strategies.fastest(able, draw)
        case "smart":
            task = task_of(asked.facts, asked.feature)
            prompt = unread if known else asked.prompt
            found = world.qualities(asked.tenant, route, task, prompt, now_ms)
            reference = name_of(route.reference or route.targets[0].target)
            rule = route.smart or SmartRule()
            worth = rule.worth if rule.keep is None else world.worth(asked.tenant, route)
            return strategies.smart(options, able, reference, rule, found, worth, draw)
        case _:
            return strategies.coming_back(strategies.listed(able, options), draw)


def _predict(
    view: ConfigView, asked: Asked, route: RouteConfig, options: Sequence[Option], world: World, now_ms: int
) -> None:
    """What each would cost and how long it would take, where that plays a part."""
    if route.strategy not in _SCORED and route.race is None and route.strategy != "race":
        return
    for each in options:
        if each.gate != "unconfigured":
            each.latency = world.latency(each.target, asked.facts, now_ms)
            each.cost = world.cost(view, route.name, each.target, asked.facts, now_ms)


def _sticky(
    asked: Asked, route: RouteConfig, able: Sequence[Option], world: World, now_ms: int
) -> Option | None:
    conversation = asked.facts.conversation
    if not route.stick_s or conversation is None:
        return None
    name = world.sticky(asked.tenant, route.name, conversation, now_ms)
    return next((each for each in able if each.name == name), None)


def _unsure(options: Sequence[Option], asked: Asked) -> list[Option]:
    """Targets whose window may be too small by an estimate that may be wrong: their provider says whether it
    is, where nobody else may be asked. The widest first."""
    found = [
        each
        for each in options
        if each.gate == "window"
        and each.abilities.window is not None
        and not gates.surely_too_small(each.abilities.window, asked.facts)
    ]
    return sorted(found, key=lambda each: -(each.abilities.window or 0))


def _last_resort(options: Sequence[Option]) -> list[Option]:
    """What is back first comes first; without keys of which nobody knows that they ever come back."""
    found = [
        each
        for each in options
        if each.gate in LAST_RESORT and (each.gate != "keys" or each.until_ms is not None)
    ]
    return sorted(found, key=lambda each: each.until_ms or 0)


def _least_bad(options: Sequence[Option]) -> Order | None:
    """Where nothing is open: breakers and windows are what was seen of a target, which may be well again. The
    one that is back first is tried first. None: nobody may be asked."""
    found = [each for each in _last_resort(options) if each.gate != "keys"]
    if not found:
        return None
    return Order(tuple(found), "least-bad", f"nothing is open, and {found[0].name} is back first")


def _left_out(options: Sequence[Option]) -> str:
    said = [f"{each.name} ({each.gate})" for each in options if each.gate is not None]
    return f"; left out: {', '.join(said)}" if said else ""


def _denied(asked: Asked, route: str | None, targets: Sequence[Target]) -> Failure | None:
    """Where the virtual key may not ask for this: by its name, its route's, or all that it leads to."""
    if not asked.models:
        return None
    name = asked.facts.model
    names = (name,) if route in (None, name) else (name, route)
    if any(allows(asked.models, each) for each in names) or allows_targets(asked.models, targets):
        return None
    return Failure(
        kind="denied",
        message=f"This key may not ask for the model {name!r}.",
        status=403,
        code="model_not_allowed",
        param="model",
    )


def _refused(
    failure: Failure,
    route: RouteConfig | None = None,
    task: str | None = None,
    options: Sequence[Option] = (),
) -> Decision:
    code = failure.code or failure.kind
    return Decision(None, failure, code, failure.message, route, task, _candidates(options))


def _windows(options: Sequence[Option]) -> tuple[int | None, ...]:
    """Empty where nobody knows any."""
    windows = tuple(each.abilities.window for each in options)
    return windows if any(window is not None for window in windows) else ()


def _candidates(options: Sequence[Option]) -> tuple[Candidate, ...]:
    return tuple(_candidate(each) for each in options)


def _candidate(each: Option) -> Candidate:
    scored = each.scored
    if scored is None and each.latency is None and each.cost is None and each.share >= 1:
        return Candidate(target=each.name, gate=each.gate)
    return Candidate(
        target=each.name,
        gate=each.gate,
        quality=scored.quality if scored is not None else None,
        mass=scored.mass if scored is not None else None,
        verdicts=scored.evidence if scored is not None else None,
        probability=scored.probability if scored is not None else None,
        cost_usd=each.cost,
        latency_s=each.latency.quantile(0.5) if each.latency is not None and each.latency.measured else None,
        share=each.share if each.share < 1 else None,
    )
