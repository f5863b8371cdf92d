"""What a decision asks about, and what it wants to know: a request, and the state of the world. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple, Protocol

from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts, Target
from keyrail.providers import names
from keyrail.routing import costs
from keyrail.routing.learning import UNKNOWN_PRIOR
from keyrail.routing.posterior import PRIOR_MASS, Posterior, of
from keyrail.routing.prediction import Prediction
from keyrail.routing.text import Features


def unread() -> None:
    """Of a request whose prompt nobody looked at."""
    return


class Asked(NamedTuple):
    """A request, as far as it matters.

    `models`: what its virtual key may ask for, empty: everything. `draw`: uniform in [0, 1). `prompt`: its
    features, worked out only where they are wanted. `below_usd`: what is left of its budgets does not pay for
    an attempt that can cost so much; None: nothing is known of that.
    """

    facts: Facts
    tenant: str = "default"
    models: tuple[str, ...] = ()
    feature: str | None = None
    draw: float = 0.0
    prompt: Callable[[], Features | None] = unread
    below_usd: Decimal | None = None
    owner: Callable[[str], str | None] = names.owner


class KeysOut(NamedTuple):
    """All keys of a tenant at a provider are out. `until_ms` None: nobody knows when one is back."""

    until_ms: int | None
    failure: Failure


class World(Protocol):
    """Answers about one target, or those of a route. Nothing waits."""

    def share(self, target: Target, now_ms: int) -> float:
        """Of its traffic: 0 while its breaker is open, less than 1 while it comes back."""
        ...

    def until_ms(self, target: Target, now_ms: int) -> int | None:
        """When a target without a share is back."""
        ...

    def limited_until_ms(self, tenant: str, target: Target, facts: Facts, now_ms: int) -> int | None:
        """When its provider takes a request of this size again; None: now, as far as anybody knows."""
        ...

    def keys_out(self, tenant: str, target: Target, now_ms: int) -> KeysOut | None:
        """None: some key may be used, or nothing is known of any."""
        ...

    def qualities(
        self,
        tenant: str,
        route: RouteConfig,
        task: str,
        prompt: Callable[[], Features | None],
        now_ms: int,
    ) -> dict[str, Posterior]:
        """Of each of the route's targets, by name."""
        ...

    def worth(self, tenant: str, route: RouteConfig) -> float | None:
        """With which a smart route keeps what it is to keep; None: nobody knows."""
        ...

    def latency(self, target: Target, facts: Facts, now_ms: int) -> Prediction | None:
        """None: it was not measured lately."""
        ...

    def cost(
        self, view: ConfigView, route: str | None, target: Target, facts: Facts, now_ms: int
    ) -> Decimal | None:
        """What this request is predicted to cost there, US dollars."""
        ...

    def sticky(self, tenant: str, route: str, conversation: str, now_ms: int) -> str | None:
        """The target that this conversation is with."""
        ...


class Calm:
    """A world in which nothing is known against anybody, and nothing was measured."""

    def share(self, target: Target, now_ms: int) -> float:
        """All of it."""
        return 1.0

    def until_ms(self, target: Target, now_ms: int) -> int | None:
        """It is there."""
        return None

    def limited_until_ms(self, tenant: str, target: Target, facts: Facts, now_ms: int) -> int | None:
        """It is not."""
        return None

    def keys_out(self, tenant: str, target: Target, now_ms: int) -> KeysOut | None:
        """They are not."""
        return None

    def qualities(
        self,
        tenant: str,
        route: RouteConfig,
        task: str,
        prompt: Callable[[], Features | None],
        now_ms: int,
    ) -> dict[str, Posterior]:
        """As declared."""
        mass = route.smart.mass if route.smart is not None else PRIOR_MASS
        return {name: of(prior, 0.0, 0.0, mass) for name, prior in priors(route).items()}

    def worth(self, tenant: str, route: RouteConfig) -> float | None:
        """Unknown."""
        return None

    def latency(self, target: Target, facts: Facts, now_ms: int) -> Prediction | None:
        """Unknown."""
        return None

    def cost(
        self, view: ConfigView, route: str | None, target: Target, facts: Facts, now_ms: int
    ) -> Decimal | None:
        """By the prices, for an answer of the usual length."""
        return costs.predicted(view, target, facts, None, now_ms)

    def sticky(self, tenant: str, route: str, conversation: str, now_ms: int) -> str | None:
        """Nobody's."""
        return None


def name_of(target: Target) -> str:
    """`provider/model`."""
    return f"{target.provider}/{target.model}"


def priors(route: RouteConfig) -> dict[str, float]:
    """What is believed of each target before any verdict."""
    return {
        name_of(each.target): UNKNOWN_PRIOR if each.quality is None else each.quality
        for each in route.targets
    }
