"""Verdicts: checked against the configuration, published, and folded into what is known of the targets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import sqrt
from typing import Final

from keyrail.bus.events import EventPublisher
from keyrail.bus.scores import Scores
from keyrail.contracts.config import ConfigView, RouteConfig
from keyrail.contracts.routing import VerdictGiven
from keyrail.contracts.scores import TaskScores, Verdict
from keyrail.routing.learning import Model
from keyrail.routing.posterior import PRIOR_MASS, Posterior
from keyrail.routing.tuning import rule_of
from keyrail.routing.world import name_of, priors
from keyrail_control import audit, texts
from keyrail_control.errors import Invalid, Unavailable

ACKNOWLEDGED_S: Final = 5.0
NINETY: Final = 1.645
"""Standard deviations on either side that hold nine tenths of a normal distribution."""

ConfigInForce = Callable[[], Awaitable[ConfigView]]


@dataclass(frozen=True, slots=True)
class Given:
    """A verdict, and the features of its prompt, where that is known."""

    event: VerdictGiven
    features: str | None = None


class Learned:
    """What is known of the quality of targets. `publisher` is of verdicts."""

    def __init__(self, publisher: EventPublisher, scores: Scores, in_force: ConfigInForce) -> None:
        self._publisher = publisher
        self._scores = scores
        self._in_force = in_force

    async def give(self, given: Sequence[Given]) -> int:
        """Take verdicts; returns how many were new. Those that were not are no error, so that all of this may
        be done again. Raises Invalid before anything is done, Unavailable and BusError."""
        view = await self._in_force()
        for number, each in enumerate(given):
            _check(view, number, each.event)
        try:
            async with asyncio.timeout(ACKNOWLEDGED_S):
                await asyncio.gather(*(self._publisher.commit(each.event) for each in given))
        except TimeoutError:
            raise Unavailable("the bus does not take verdicts at the moment: try again") from None
        new = 0
        for tenant in dict.fromkeys(each.event.tenant for each in given):
            its = [_verdict(each) for each in given if each.event.tenant == tenant]
            new += await self._scores.fold(tenant, its)
        audit.changed("verdicts.give", str(len(given)), new=new)
        return new

    async def tasks(self, tenant: str, route: str) -> list[TaskScores]:
        """What is known of a route at each task that has verdicts, by name of the task."""
        return sorted(await self._scores.tasks(tenant, route), key=lambda each: each.task)

    async def tuned(self, route: RouteConfig) -> list[dict[str, object]]:
        """By tenant, what routers have found out with which this route keeps what it is to keep."""
        found = await self._scores.tuned(route.name)
        return [
            {
                "tenant": tenant,
                "worth": each.worth,
                "kept": round(each.kept, 4),
                "saved": None if each.saved is None else round(each.saved, 4),
                "requests": each.requests,
                "tuned_at": texts.written(each.at_ms),
            }
            for tenant, each in sorted(found.items())
            if each.rule == rule_of(route)
        ]

    async def model(self, tenant: str, route: RouteConfig) -> Model:
        """What is believed of a route's targets today."""
        return model_of(route, await self.tasks(tenant, route.name))


def model_of(route: RouteConfig, tasks: Sequence[TaskScores]) -> Model:
    """Priors of the configuration and all verdicts; nothing of prompts."""
    mass = route.smart.mass if route.smart is not None else PRIOR_MASS
    return Model(priors(route), tasks, prior_mass=mass)


def believed(route: RouteConfig, tasks: Sequence[TaskScores], now_ms: int) -> list[dict[str, object]]:
    """A row for each task and target: the quality with an interval that holds nine tenths."""
    model = model_of(route, tasks)
    names = list(dict.fromkeys(name_of(each.target) for each in route.targets))
    rows: list[dict[str, object]] = []
    for scores in tasks:
        every = [*names, *(name for name in sorted(scores.tallies) if name not in names)]
        found = model.qualities(scores.task, None, every, now_ms)
        rows += [_row(scores.task, name, found[name], in_route=name in names) for name in every]
    return rows


def _row(task: str, target: str, quality: Posterior, *, in_route: bool) -> dict[str, object]:
    reach = NINETY * sqrt(quality.variance)
    return {
        "task": task,
        "target": target,
        "quality": round(quality.mean, 4),
        "low": round(max(0.0, quality.mean - reach), 4),
        "high": round(min(1.0, quality.mean + reach), 4),
        "verdicts": round(quality.evidence, 2),
        "in_route": in_route,
    }


def _check(view: ConfigView, number: int, event: VerdictGiven) -> None:
    provider, _, model = event.target.partition("/")
    if event.route not in view.routes:
        raise Invalid(f"verdicts[{number}].route: there is no such route")
    if not model or provider not in view.providers:
        raise Invalid(f"verdicts[{number}].target: must be provider/model of a provider that is configured")


def _of_prompt(features: str | None) -> str | None:
    """Verdicts about the same prompt belong together, whoever sent it."""
    return features and f"p-{blake2b(features.encode(), digest_size=12).hexdigest()}"


def _verdict(given: Given) -> Verdict:
    event = given.event
    return Verdict(
        id=event.verdict_id,
        request_id=event.request_id or _of_prompt(given.features) or event.verdict_id,
        route=event.route,
        task=event.task,
        scores={event.target: event.score},
        weight=event.weight,
        at_ms=event.given_ms,
        features=given.features,
    )
