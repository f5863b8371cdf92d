"""Worlds for decisions, as tests want them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts, Target
from keyrail.routing.posterior import Posterior
from keyrail.routing.prediction import Prediction
from keyrail.routing.text import Features
from keyrail.routing.world import Calm, KeysOut, name_of

KEYS = Failure(kind="rate", message="All keys are out.", status=429, code="provider_keys_out")


@dataclass
class Stage(Calm):
    """Everything by `provider/model`; what is not named is calm."""

    shares: dict[str, float] = field(default_factory=dict[str, float])
    untils: dict[str, int] = field(default_factory=dict[str, int])
    limits: dict[str, int] = field(default_factory=dict[str, int])
    outs: dict[str, int | None] = field(default_factory=dict[str, int | None])
    costs: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    seconds: dict[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    known: dict[str, Posterior] = field(default_factory=dict[str, Posterior])
    stuck: dict[str, str] = field(default_factory=dict[str, str])
    worths: dict[str, float] = field(default_factory=dict[str, float])

    def share(self, target: Target, now_ms: int) -> float:
        return self.shares.get(name_of(target), 1.0)

    def until_ms(self, target: Target, now_ms: int) -> int | None:
        return self.untils.get(name_of(target))

    def limited_until_ms(self, tenant: str, target: Target, facts: Facts, now_ms: int) -> int | None:
        return self.limits.get(name_of(target))

    def keys_out(self, tenant: str, target: Target, now_ms: int) -> KeysOut | None:
        name = name_of(target)
        return KeysOut(self.outs[name], KEYS) if name in self.outs else None

    def qualities(
        self,
        tenant: str,
        route: RouteConfig,
        task: str,
        prompt: Callable[[], Features | None],
        now_ms: int,
    ) -> dict[str, Posterior]:
        return super().qualities(tenant, route, task, prompt, now_ms) | self.known

    def worth(self, tenant: str, route: RouteConfig) -> float | None:
        return self.worths.get(route.name)

    def latency(self, target: Target, facts: Facts, now_ms: int) -> Prediction | None:
        seconds = self.seconds.get(name_of(target))
        return None if seconds is None else Prediction(seconds, facts.stream)

    def cost(
        self, view: ConfigView, route: str | None, target: Target, facts: Facts, now_ms: int
    ) -> Decimal | None:
        return self.costs.get(name_of(target))

    def sticky(self, tenant: str, route: str, conversation: str, now_ms: int) -> str | None:
        return self.stuck.get(conversation)
