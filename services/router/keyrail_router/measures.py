"""How fast and how reliable targets were lately, folded from the attempts that workers report."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusError
from keyrail.bus.tasks import end
from keyrail.contracts import streams, subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ConfigView
from keyrail.contracts.failures import FailureKind
from keyrail.contracts.measures import Measured
from keyrail.contracts.slips import Facts, Target
from keyrail.routing import costs
from keyrail.routing.prediction import Ended, Latencies, Prediction

log = logging.getLogger(__name__)

PERIOD_S: Final = 10.0
"""How often what was measured is written down, by whichever router finds it older than that."""
KEY: Final = "lately"
MOST: Final = 2_000
"""Targets kept in mind; clients may name any model."""
MOST_WRITTEN: Final = 200
AGAINST: Final[frozenset[FailureKind]] = frozenset(
    {"server", "capacity", "timeout", "connection", "truncated", "garbage"}
)
"""Failures that say something of their target, and not of the request, a key or a limit."""
_MEASURED: Final = frozenset({"cheapest", "fastest", "smart", "race"})


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Price(msgspec.Struct, gc=False):
    source: str | None = None


class _Started(msgspec.Struct, gc=False):
    provider: str
    model: str
    route: str | None = None
    stream: bool = False


class _Seen(msgspec.Struct, gc=False):
    """Of an event what is looked at; everything else is skipped where it stands. Those that only say that an
    attempt began have no `started` inside."""

    started: _Started | None = None
    status: str = ""
    failure: str | None = None
    usage: _Usage | None = None
    price: _Price | None = None
    first_content_ms: int | None = None
    duration_ms: int = 0
    settled_ms: int = 0


_EVENTS = msgspec.json.Decoder(list[_Seen])


class _Written(msgspec.Struct, gc=False):
    at_ms: int


def needed(view: ConfigView) -> bool:
    """Whether any route of this configuration looks at what is measured."""
    return any(route.strategy in _MEASURED or route.race is not None for route in view.routes.values())


class Measures:
    """Follows the attempts of all workers, as long as a route needs it."""

    def __init__(self, bus: Bus, clock_ms: Callable[[], int] = now_ms) -> None:
        self._bus = bus
        self._clock_ms = clock_ms
        self._targets: dict[str, Latencies] = {}
        self._answers: dict[str, float] = {}
        self._subscription: Subscription | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._documents = Documents(bus, streams.MEASURES.name)
        self._changed = False

    def follow(self, view: ConfigView) -> None:
        """This is the configuration now: begin or end, as it needs."""
        if needed(view) and self._task is None:
            self._subscription = self._bus.listen(subjects.EVENT_ATTEMPT, self.on_events)
            self._task = asyncio.create_task(self._keep(), name="measures")
        elif not needed(view) and self._task is not None:
            self._leave(self._task)

    async def stop(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            task = self._task
            self._leave(task)
            await end(task)
        if self._leaving is not None:
            await self._leaving

    async def on_events(self, msg: Msg) -> None:
        """A message of attempts."""
        try:
            seen = _EVENTS.decode(msg.data)
        except ValueError:
            log.error("attempts could not be read")
            return
        for each in seen:
            if each.started is not None:
                self._fold(each, each.started)

    def _fold(self, seen: _Seen, started: _Started) -> None:
        if seen.status == "ok":
            ok: bool | None = seen.price is None or seen.price.source != "cache" or None
        else:
            ok = False if seen.failure in AGAINST else None
        if ok is None:
            return
        name = f"{started.provider}/{started.model}"
        usage = seen.usage or _Usage()
        known = self._targets.get(name)
        if known is None:
            if len(self._targets) >= MOST:
                del self._targets[next(iter(self._targets))]
            known = self._targets[name] = Latencies()
        known.fold(
            Ended(
                at_ms=seen.settled_ms,
                ok=ok,
                stream=started.stream,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                first_content_ms=seen.first_content_ms,
                duration_ms=seen.duration_ms,
            )
        )
        if ok and started.route is not None and usage.output_tokens is not None:
            key = f"{started.route} {name}"
            before = self._answers.get(key)
            after = usage.output_tokens if before is None else before + (usage.output_tokens - before) / 16
            self._answers[key] = after
        self._changed = True

    def latency(self, target: Target, facts: Facts, at_ms: int) -> Prediction | None:
        """None: nothing was measured lately."""
        known = self._targets.get(f"{target.provider}/{target.model}")
        if known is None:
            return None
        return known.predict(
            stream=facts.stream,
            input_tokens=facts.input_tokens_estimate,
            output_tokens=costs.answer_tokens(facts, known.output),
            now_ms=at_ms,
        )

    def success(self, name: str, at_ms: int) -> float:
        """The share of attempts at this target that came to an answer."""
        known = self._targets.get(name)
        return 1.0 if known is None else known.success(at_ms)

    def answer_tokens(self, route: str | None, target: Target) -> float | None:
        """How long its answers were lately, in this route or anywhere; None: unknown."""
        name = f"{target.provider}/{target.model}"
        found = self._answers.get(f"{route} {name}") if route is not None else None
        if found is not None:
            return found
        known = self._targets.get(name)
        return None if known is None else known.output

    def written(self) -> Measured:
        """What others are told: of the targets that were asked last."""
        recent = sorted(self._targets.items(), key=lambda pair: -pair[1].at_ms)[:MOST_WRITTEN]
        names = {name for name, _ in recent}
        return Measured(
            at_ms=self._clock_ms(),
            targets={name: known.written() for name, known in recent},
            answers={
                key: round(tokens, 1)
                for key, tokens in self._answers.items()
                if key.partition(" ")[2] in names
            },
        )

    def restore(self, known: Measured) -> None:
        """Take what another router knew of targets that this one knows nothing of yet."""
        for name, each in known.targets.items():
            if name not in self._targets:
                self._targets[name] = Latencies.of(each)
        self._answers = {**known.answers, **self._answers}

    def _leave(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._task = None
        if self._subscription is not None:
            self._leaving = asyncio.create_task(self._subscription.unsubscribe())
            self._subscription = None

    async def _keep(self) -> None:
        """Read what others know, then write it down whenever nobody else has for a while."""
        await self._read()
        while True:
            await asyncio.sleep(PERIOD_S * random.uniform(1, 1.5))  # noqa: S311 - so that they don't come at once
            if self._changed:
                await self.write()

    async def _read(self) -> None:
        try:
            document = await self._documents.get(KEY)
            if document is not None:
                self.restore(Measured.decode(document))
        except (BusError, ValueError) as error:
            log.warning("measures not read", extra={"error": str(error)})

    async def write(self) -> bool:
        """Write down what is known, unless somebody has just done so. Returns whether it was done."""

        def change(before: bytes | None) -> tuple[bytes | None, bool]:
            if before is not None and self._clock_ms() - _written_ms(before) < PERIOD_S * 1000:
                return None, False
            return self.written().encode(), True

        try:
            done = await self._documents.change(KEY, change)
        except BusError as error:
            log.warning("measures not written", extra={"error": str(error)})
            return False
        self._changed = self._changed and not done
        return done


def _written_ms(document: bytes) -> int:
    """0 for one that can't be read, which is replaced."""
    try:
        return _WRITTEN.decode(document).at_ms
    except ValueError:
        return 0


_WRITTEN = msgspec.json.Decoder(_Written)
