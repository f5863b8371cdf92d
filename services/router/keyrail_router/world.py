"""The world as this router knows it: what the decisions of `keyrail.routing` ask about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol

from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.slips import Facts, Target
from keyrail.keys.book import KeyBook
from keyrail.routing import costs
from keyrail.routing.posterior import Posterior
from keyrail.routing.prediction import Prediction
from keyrail.routing.stickiness import Stickiness
from keyrail.routing.text import Features
from keyrail.routing.world import KeysOut
from keyrail_router import pools
from keyrail_router.measures import Measures
from keyrail_router.scores import Scores


class Health(Protocol):
    """What is known of breakers and of the windows of providers' limits. `any`: whether anything is."""

    @property
    def any(self) -> bool: ...

    def share(self, target: Target) -> float: ...

    def until_ms(self, target: Target) -> int | None: ...

    def limited_until_ms(self, tenant: str, target: Target, facts: Facts) -> int | None: ...

    def sent(self, tenant: str, target: Target, facts: Facts) -> None: ...


class RouterWorld:
    """Joins what is watched, measured and learned. No I/O."""

    def __init__(self, health: Health, keys: KeyBook, measures: Measures, scores: Scores) -> None:
        self._health = health
        self._keys = keys
        self._measures = measures
        self._scores = scores
        self.stickiness = Stickiness()

    def calm(self, tenant: str, targets: Sequence[Target], facts: Facts, now_ms: int) -> bool:
        """Whether nothing is known against any of these targets."""
        if self._keys.healths and any(self.keys_out(tenant, each, now_ms) for each in targets):
            return False
        if not self._health.any:
            return True
        health = self._health
        return all(
            health.share(each) >= 1 and health.limited_until_ms(tenant, each, facts) is None
            for each in targets
        )

    def sent(self, tenant: str, target: Target, facts: Facts) -> None:
        """A request goes there: its provider's window has that much less."""
        if self._health.any:
            self._health.sent(tenant, target, facts)

    def share(self, target: Target, now_ms: int) -> float:
        """As `World`."""
        return self._health.share(target)

    def until_ms(self, target: Target, now_ms: int) -> int | None:
        """As `World`."""
        return self._health.until_ms(target)

    def limited_until_ms(self, tenant: str, target: Target, facts: Facts, now_ms: int) -> int | None:
        """As `World`."""
        return self._health.limited_until_ms(tenant, target, facts)

    def keys_out(self, tenant: str, target: Target, now_ms: int) -> KeysOut | None:
        """As `World`."""
        return pools.keys_out(self._keys, tenant, target.provider, now_ms)

    def qualities(
        self,
        tenant: str,
        route: RouteConfig,
        task: str,
        prompt: Callable[[], Features | None],
        now_ms: int,
    ) -> dict[str, Posterior]:
        """As was learned, and less where a target often fails to answer at all."""
        found = self._scores.qualities(tenant, route, task, prompt, now_ms)
        for name, quality in found.items():
            success = self._measures.success(name, now_ms)
            if success < 1:
                found[name] = Posterior(quality.mean * success, quality.mass, quality.evidence)
        return found

    def worth(self, tenant: str, route: RouteConfig) -> float | None:
        """As `World`."""
        return self._scores.worth(tenant, route)

    def latency(self, target: Target, facts: Facts, now_ms: int) -> Prediction | None:
        """As `World`."""
        return self._measures.latency(target, facts, now_ms)

    def cost(
        self, view: ConfigView, route: str | None, target: Target, facts: Facts, now_ms: int
    ) -> Decimal | None:
        """With an answer as long as this target's were lately in this route."""
        measured = self._measures.answer_tokens(route, target)
        return costs.predicted(view, target, facts, measured, now_ms)

    def sticky(self, tenant: str, route: str, conversation: str, now_ms: int) -> str | None:
        """As `World`."""
        return self.stickiness.find(tenant, route, conversation, now_ms)
