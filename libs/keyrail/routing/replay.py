"""A recorded decision made again under another configuration, in the world as it was recorded. Pure.

What the configuration does not decide stays: breakers, limits, keys, budgets, and the target that a
conversation was with; so do quality, cost and latency of the targets that were looked at. What was not
recorded is worked out where it can be (the cost, from the request and the prices), believed (the quality) or
unknown (the latency).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Final

from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.routing import Candidate, RequestRouted
from keyrail.contracts.slips import Facts, Target
from keyrail.routing import costs
from keyrail.routing.decide import Decision, decide
from keyrail.routing.posterior import Posterior
from keyrail.routing.prediction import LEAST, Prediction
from keyrail.routing.text import Features
from keyrail.routing.tuning import rule_of
from keyrail.routing.world import Asked, KeysOut, name_of, priors

Believed = Callable[[str, RouteConfig, str], Mapping[str, Posterior]]
"""What is known of the targets of a tenant's route at a task, by name."""
Worths = Callable[[str, RouteConfig], float | None]
"""With which a tenant's route keeps what it is to keep, where the recorded decision does not say."""
STICKY: Final = "sticky"
NOT_ALLOWED: Final = "model_not_allowed"
PREDICTING: Final = frozenset({"cheapest", "fastest", "smart", "race"})
"""Strategies that look at costs: one that is not recorded was unknown."""
_SOME_TOKENS: Final = 1_000.0
_KEYS_OUT: Final = Failure(kind="rate", message="All keys were out.", status=429)


def nothing_found(tenant: str, route: RouteConfig) -> float | None:
    """Of routes that were never tuned."""
    return None


def replayed(
    decision: RequestRouted,
    view: ConfigView,
    before: ConfigView,
    believed: Believed,
    worths: Worths = nothing_found,
) -> Decision:
    """As `view` would have decided. `before`: whose prices the recorded costs were predicted with."""
    if _kept_out(decision):
        failure = Failure(kind=decision.failure or "other", message=decision.reason, status=429)
        return Decision(None, failure, decision.code, decision.reason, view.routes.get(decision.route))
    asked = Asked(
        facts=decision.facts,
        tenant=decision.tenant,
        feature=decision.feature,
        draw=draw_of(decision),
        below_usd=_below(decision, before),
    )
    return decide(view, asked, RecordedWorld(decision, before, believed, worths), decision.routed_ms)


def _kept_out(decision: RequestRouted) -> bool:
    """Whether no route had a say: the key may not ask for this, or its budgets are spent."""
    if decision.targets:
        return False
    return decision.code == NOT_ALLOWED or any(each.gate is None for each in decision.candidates)


def draw_of(decision: RequestRouted) -> float:
    """The recorded draw; for an event that has none always the same one, which follows from its request."""
    if decision.draw is not None:
        return min(max(decision.draw, 0.0), 1 - 2**-53)
    digest = blake2b(f"{decision.request_id} {decision.epoch}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def target_of(name: str) -> Target:
    """The inverse of `name_of`."""
    provider, _, model = name.partition("/")
    return Target(provider=provider, model=model)


class RecordedWorld:
    """`World`, as one decision saw it."""

    def __init__(
        self,
        decision: RequestRouted,
        before: ConfigView,
        believed: Believed,
        worths: Worths = nothing_found,
    ) -> None:
        self._decision = decision
        self._before = before
        self._believed = believed
        self._worths = worths
        self._seen: dict[str, Candidate] = {each.target: each for each in decision.candidates}
        self._measured: float | None = None
        self._looked = False

    def share(self, target: Target, now_ms: int) -> float:
        """As recorded, all of it where nothing was."""
        seen = self._seen.get(name_of(target))
        if seen is None:
            return 1.0
        if seen.gate == "breaker":
            return 0.0
        return 1.0 if seen.share is None else seen.share

    def until_ms(self, target: Target, now_ms: int) -> int | None:
        """Not recorded; but what is back first came first."""
        return self._back_ms(target, now_ms) or now_ms

    def limited_until_ms(self, tenant: str, target: Target, facts: Facts, now_ms: int) -> int | None:
        """As `until_ms`, where the gate was closed."""
        return self.until_ms(target, now_ms) if self._gate(target) == "limits" else None

    def keys_out(self, tenant: str, target: Target, now_ms: int) -> KeysOut | None:
        """Where they were. When they are back was known if the target was in the plan all the same."""
        if self._gate(target) != "keys":
            return None
        return KeysOut(self._back_ms(target, now_ms), _KEYS_OUT)

    def _back_ms(self, target: Target, now_ms: int) -> int | None:
        name, targets = name_of(target), self._decision.targets
        return now_ms + targets.index(name) if name in targets else None

    def qualities(
        self,
        tenant: str,
        route: RouteConfig,
        task: str,
        prompt: Callable[[], Features | None],
        now_ms: int,
    ) -> dict[str, Posterior]:
        """As recorded; of the others what is believed today."""
        names = priors(route)
        found = {name: seen for name in names if (seen := _posterior(self._seen.get(name))) is not None}
        if len(found) == len(names):
            return found
        return dict(self._believed(tenant, route, task)) | found

    def worth(self, tenant: str, route: RouteConfig) -> float | None:
        """As recorded, where the same was to be kept; else what would have been found out."""
        was = self._before.routes.get(route.name)
        same = was is not None and was.smart is not None and rule_of(was) == rule_of(route)
        return self._decision.worth if same else self._worths(tenant, route)

    def latency(self, target: Target, facts: Facts, now_ms: int) -> Prediction | None:
        """As recorded."""
        seen = self._seen.get(name_of(target))
        if seen is None or seen.latency_s is None:
            return None
        return Prediction((seen.latency_s,) * LEAST, facts.stream)

    def cost(
        self, view: ConfigView, route: str | None, target: Target, facts: Facts, now_ms: int
    ) -> Decimal | None:
        """As recorded, unless this configuration has other prices; worked out then, for an answer as long as
        was expected of the others."""
        seen = self._seen.get(name_of(target))
        told = seen is not None and (seen.cost_usd is not None or self._decision.strategy in PREDICTING)
        if seen is not None and told and self._same_prices(view, target):
            return seen.cost_usd
        return costs.predicted(view, target, facts, self._expected(), now_ms)

    def sticky(self, tenant: str, route: str, conversation: str, now_ms: int) -> str | None:
        """The target that the conversation was with, where that decided."""
        decision = self._decision
        return decision.targets[0] if decision.code == STICKY and decision.targets else None

    def _gate(self, target: Target) -> str | None:
        seen = self._seen.get(name_of(target))
        return None if seen is None else seen.gate

    def _same_prices(self, view: ConfigView, target: Target) -> bool:
        if view is self._before:
            return True
        ours, theirs = (each.providers.get(target.provider) for each in (self._before, view))
        if ours is None or theirs is None:
            return ours is theirs
        names = ("prices", "discount", "multipliers")
        return all(getattr(ours, name) == getattr(theirs, name) for name in names)

    def _expected(self) -> float | None:
        """Tokens of the answer that the recorded costs were predicted for; None: they do not say."""
        if not self._looked:
            self._looked = True
            found = (_tokens(self._before, self._decision, each) for each in self._decision.candidates)
            self._measured = next((each for each in found if each is not None), None)
        return self._measured


def _posterior(seen: Candidate | None) -> Posterior | None:
    if seen is None or seen.quality is None or seen.mass is None or seen.verdicts is None:
        return None
    return Posterior(seen.quality, seen.mass, seen.verdicts)


def _tokens(view: ConfigView, decision: RequestRouted, seen: Candidate) -> float | None:
    """How long an answer costs what was predicted."""
    if seen.cost_usd is None:
        return None
    target, facts, at_ms = target_of(seen.target), decision.facts, decision.routed_ms
    unbounded = facts.replace(max_output_tokens=None, choices=1)
    none = costs.predicted(view, target, unbounded, 0.0, at_ms)
    some = costs.predicted(view, target, unbounded, _SOME_TOKENS, at_ms)
    if none is None or some is None or some <= none or seen.cost_usd < none:
        return None
    return float((seen.cost_usd - none) / (some - none)) * _SOME_TOKENS / facts.choices


def _below(decision: RequestRouted, before: ConfigView) -> Decimal | None:
    """What is least of all that the budgets did not pay for."""
    gated = [each.target for each in decision.candidates if each.gate == "budget"]
    most = (costs.most(target_of(name), decision.facts, decision.routed_ms, before) for name in gated)
    return min((usd for usd in most if usd is not None), default=None)
