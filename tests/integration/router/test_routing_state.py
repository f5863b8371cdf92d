"""A router on a real nats-server: what it measures, what it learns, and what it says of its decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from typing import Any

from nats.aio.msg import Msg
from support.nats import NatsServer, eventually

from keyrail.bus.connection import Bus
from keyrail.bus.scores import Scores as Learnt
from keyrail.config import document
from keyrail.contracts import score_keys, slips, streams, subjects
from keyrail.contracts.base import decode_all, encode_all, now_ms
from keyrail.contracts.budgets import Budget
from keyrail.contracts.config import SmartRule
from keyrail.contracts.events import AttemptSettled, AttemptStarted
from keyrail.contracts.failures import FailureKind
from keyrail.contracts.routing import RequestRouted
from keyrail.contracts.scores import Exemplar, Tally, TaskScores
from keyrail.contracts.slips import Charge, Facts, Slip
from keyrail.contracts.usage import Usage
from keyrail.routing.text import features
from keyrail.routing.tuning import LEAST_SEEN
from keyrail_router.app import Router
from keyrail_router.measures import Measures
from keyrail_router.scores import Scores

CONFIG = """
providers:
  own:
    base_url: http://x/v1
    needs_key: false
    prices:
      big: {input: 2, output: 10}
      small: {input: 1, output: 1}
      other: {input: 1, output: 2}
routes:
  plain: {strategy: fallback, targets: [own/big, own/small]}
  quick: {strategy: fastest, targets: [own/big, own/small]}
  cheap: {strategy: cheapest, targets: [own/big, own/small, own/other]}
  wise: {strategy: smart, targets: [own/big, own/small], reference: own/big, smart: {bar: 0.9}}
  thrifty: {strategy: smart, targets: [own/big, own/small], reference: own/big, smart: {keep: 0.9}}
  sticky: {strategy: weighted, targets: [own/big, own/small], stick: 10m}
"""
VIEW = document.parse(CONFIG, "keyrail.yaml", {}).replace(revision=1)
NUMBERS = count()
ASK = b'{"messages": [{"role": "user", "content": "please add these long numbers together"}]}'


class Place:
    """A router, and everybody around it."""

    def __init__(self, nats: NatsServer) -> None:
        self.nats = nats
        self.planned: dict[str, Slip] = {}
        self.failed: list[bytes] = []
        self.routed: dict[str, RequestRouted] = {}
        self.buses: list[Bus] = []

    async def bus(self, service: str) -> Bus:
        self.buses.append(await self.nats.bus(service))
        return self.buses[-1]

    async def start(self) -> None:
        self.ingress, self.worker = await self.bus("ingress"), await self.bus("provider-worker")
        self.control, self.setup = await self.bus("control"), await self.bus("setup")
        bucket = await self.control.js.key_value(streams.CONFIG.name)
        await bucket.put("current", VIEW.encode())

        async def call(msg: Msg) -> None:
            slip, _ = slips.unpack(msg.data)
            self.planned[slip.request_id] = slip

        async def fact(msg: Msg) -> None:
            for each in decode_all(RequestRouted, msg.data):
                self.routed[each.request_id] = each

        async def frame(msg: Msg) -> None:
            self.failed.append(msg.data)

        self.worker.listen(subjects.CALLS, call, queue="provider-worker")
        self.setup.listen(subjects.EVENT_ROUTED, fact)
        self.ingress.listen(f"{self.ingress.inbox}.>", frame)
        for bus in self.buses:
            await bus.nc.flush()
        self.router = Router(await self.bus("router"))
        await self.router.start()

    async def close(self) -> None:
        await self.router.drain()
        for bus in self.buses:
            await bus.close()

    def send(self, model: str, *, charges: tuple[Charge, ...] = (), **facts: Any) -> str:
        now, name = now_ms(), f"r{next(NUMBERS)}"
        slip = Slip(
            request_id=name,
            inbox=f"{self.ingress.inbox}.r.1",
            tenant="acme",
            key_id="k",
            received_ms=now,
            deadline_ms=now + 60_000,
            take_by_ms=now + 3_000,
            facts=Facts(model=model, **facts),
            charges=charges,
        )
        self.ingress.send(subjects.REQUEST, slips.pack(slip, ASK))
        return name

    async def ask(self, model: str, **facts: Any) -> Slip:
        name = self.send(model, **facts)
        await eventually(lambda: name in self.planned)
        return self.planned[name]

    async def first(self, model: str, **facts: Any) -> str:
        return (await self.ask(model, **facts)).target.model

    async def report(self, model: str, count: int, **about: Any) -> None:
        await self.worker.js.publish(subjects.EVENT_ATTEMPT, attempts(model, count, **about))


def attempts(
    model: str,
    count: int,
    *,
    first_ms: int = 100,
    output: int = 100,
    route: str = "quick",
    failure: FailureKind | None = None,
) -> bytes:
    now = now_ms()
    started = AttemptStarted(
        attempt_id="a",
        request_id="r",
        epoch=0,
        hop=0,
        tenant="acme",
        key_id="k",
        route=route,
        strategy="fastest",
        revision=1,
        provider="own",
        model=model,
        worker="w",
        stream=True,
        started_ms=now,
    )
    settled = AttemptSettled(
        started=started,
        status="ok" if failure is None else "failed",
        failure=failure,
        usage=Usage(input_tokens=10, output_tokens=output),
        first_content_ms=first_ms,
        duration_ms=first_ms + 1_000,
        settled_ms=now,
    )
    return encode_all([started, *[settled] * count])


@asynccontextmanager
async def place(nats: NatsServer) -> AsyncGenerator[Place]:
    made = Place(nats)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def test_what_workers_measure_decides_who_is_the_fastest(nats: NatsServer) -> None:
    async with place(nats) as at:
        assert await at.first("quick", stream=True) == "big", "as listed, where nobody knows"
        await at.report("big", 10, first_ms=900)
        await at.report("small", 10, first_ms=200)
        async with asyncio.timeout(5):
            while await at.first("quick", stream=True) != "small":
                pass
        name = (await at.ask("quick", stream=True)).request_id
        await eventually(lambda: name in at.routed)
        fact = at.routed[name]
        assert (fact.code, fact.route, fact.strategy, fact.revision) == ("fastest", "quick", "fastest", 1)
        assert {each.target: each.latency_s for each in fact.candidates} == {"own/big": 0.9, "own/small": 0.2}
        assert fact.targets == ("own/small", "own/big")

        assert await at.router._measures.write()  # pyright: ignore[reportPrivateUsage]
        assert not await at.router._measures.write(), "somebody has just done so"  # pyright: ignore[reportPrivateUsage]
        another = Measures(await at.bus("router"))
        another.follow(VIEW)
        target = VIEW.routes["quick"].targets[1].target
        facts = Facts(model="quick", stream=True)
        await eventually(lambda: another.latency(target, facts, now_ms()) is not None)
        known = another.latency(target, facts, now_ms())
        assert known is not None
        assert known.quantile(0.5) == 0.2
        assert another.answer_tokens("quick", target) == 100
        await another.stop()


async def test_nothing_is_followed_that_no_route_needs(nats: NatsServer) -> None:
    bus = await nats.bus("router")
    before = len(bus.nc._subs)  # pyright: ignore
    measures, scores = Measures(bus), Scores(bus)
    plain = VIEW.replace(routes={"plain": VIEW.routes["plain"]})
    for each in (measures, scores):
        each.follow(plain)
    assert len(bus.nc._subs) == before  # pyright: ignore
    measures.follow(VIEW)
    assert len(bus.nc._subs) == before + 1  # pyright: ignore
    measures.follow(plain)
    await measures.stop()
    await scores.stop()
    assert len(bus.nc._subs) == before  # pyright: ignore
    await bus.close()


async def test_verdicts_let_a_smart_route_leave_its_reference_and_failures_bring_it_back(
    nats: NatsServer,
) -> None:
    async with place(nats) as at:
        assert await at.first("wise") == "big"
        good = Tally(good=180.0, bad=20.0, at_ms=now_ms())
        scores = TaskScores(task="any", tallies={"own/big": good, "own/small": good})
        bucket = await at.control.js.key_value(streams.SCORES.name)
        await bucket.put(score_keys.task("acme", "wise", "any"), scores.encode())
        async with asyncio.timeout(5):
            while await at.first("wise") != "small":
                pass
        assert await at.first("wise", tools=True) == "big", "another task"
        await at.report("small", 60, failure="server")
        async with asyncio.timeout(5):
            while await at.first("wise") != "big":
                pass
        await bucket.delete(score_keys.task("acme", "wise", "any"))


async def test_a_route_finds_out_with_what_it_keeps_its_share_and_all_routers_use_it(
    nats: NatsServer,
) -> None:
    async with place(nats) as at:
        tallies = {"own/big": Tally(good=180.0, bad=20.0, at_ms=now_ms())}
        bucket = await at.control.js.key_value(streams.SCORES.name)
        key = score_keys.task("acme", "thrifty", "any")
        for _ in range(LEAST_SEEN):
            assert await at.first("thrifty") == "big"
        route = VIEW.routes["thrifty"]
        tuner = at.router._tuner  # pyright: ignore[reportPrivateUsage]
        assert not await tuner.tune("acme", route), "what holds for nobody but the reference says nothing"

        tallies["own/small"] = Tally(good=175.0, bad=25.0, at_ms=now_ms())
        await bucket.put(key, TaskScores(task="any", tallies=tallies).encode())
        async with asyncio.timeout(10):
            while await at.first("thrifty") != "small":
                pass
        name = (await at.ask("thrifty")).request_id
        await eventually(lambda: name in at.routed)
        fact = at.routed[name]
        assert (fact.code, fact.worth) == ("cheapest-clears", 0.0), "prices alone keep enough"
        assert "reference-untuned" in {each.code for each in at.routed.values()}
        assert not await tuner.tune("acme", route), "it holds for a while"

        another = Scores(await at.bus("router"))
        another.follow(VIEW)
        await eventually(lambda: another.worth("acme", route) == fact.worth)
        changed = route.replace(smart=SmartRule(keep=0.8, confidence=0.5))
        assert another.worth("acme", changed) is None, "another share has another worth"
        tuned = (await Learnt(at.control).tuned("thrifty"))["acme"]
        assert tuned.worth == fact.worth
        assert 0.9 <= tuned.kept <= 1
        assert tuned.saved is not None
        assert tuned.saved > 0.4
        await another.stop()
        await bucket.delete(key)
        await bucket.delete(score_keys.tuned("acme", "thrifty"))


async def test_prompts_like_this_one_count(nats: NatsServer) -> None:
    bus, control = await nats.bus("router"), await nats.bus("control")
    scores = Scores(bus, calm_s=0.0)
    scores.follow(VIEW)
    route = VIEW.routes["wise"]
    bucket = await control.js.key_value(streams.SCORES.name)
    now = now_ms()
    for n in range(120):
        sums = n % 2 == 0
        text = (
            f"please add these long numbers together {n}" if sums else f"write a sad poem about the sea {n}"
        )
        exemplar = Exemplar(
            id=f"r{n}",
            task="any",
            features=features(f"{text} {n}").pack(),
            scores={"own/big": 1.0, "own/small": 0.0 if sums else 1.0},
            at_ms=now,
        )
        await bucket.put(f"{score_keys.of_route('acme', 'wise')}.e.{n}", exemplar.encode())
    read: list[str] = []

    def small(text: str) -> float:
        def prompt() -> Any:
            read.append(text)
            return features(text)

        return scores.qualities("acme", route, "any", prompt, now)["own/small"].mean

    await eventually(lambda: small("please add these long numbers together") < 0.4, within_s=20)
    assert small("write a sad poem about the sea") > small("please add these long numbers together") + 0.2
    assert read, "the prompt is only read where neighbours count"
    await scores.stop()
    await bus.close()
    await control.close()


async def test_a_budget_that_does_not_pay_for_the_first_target_may_pay_for_another(nats: NatsServer) -> None:
    async with place(nats) as at:
        budget = Charge(scope="key.k", budget=Budget(usd=Decimal("0.005"), per="day"))
        asked: dict[str, Any] = {"input_tokens_most": 1, "max_output_tokens": 1_000}
        slip = await at.ask("plain", charges=(budget,), **asked)
        assert slip.plan is not None
        assert [each.model for each in slip.plan.targets] == ["small"]
        await eventually(lambda: slip.request_id in at.routed)
        fact = at.routed[slip.request_id]
        assert [each.gate for each in fact.candidates] == ["budget", None]
        refused = at.send("plain", charges=(budget,), **asked | {"max_output_tokens": 1_000_000})
        await eventually(lambda: refused in at.routed)
        fact = at.routed[refused]
        assert (fact.failure, fact.code, fact.targets) == ("budget", "budget_exceeded", ())
        await eventually(lambda: len(at.failed) == 1)


async def test_a_conversation_stays_and_a_direct_model_is_no_decision(nats: NatsServer) -> None:
    async with place(nats) as at:
        talks = {f"{n:016x}" for n in range(12)}
        firsts = {talk: await at.first("sticky", conversation=talk) for talk in talks}
        assert set(firsts.values()) == {"big", "small"}
        assert {talk: await at.first("sticky", conversation=talk) for talk in talks} == firsts
        direct = (await at.ask("own/other")).request_id
        last = (await at.ask("plain")).request_id
        await eventually(lambda: last in at.routed)
        assert direct not in at.routed
        assert at.routed[last].code == "first-listed"
        codes = [each.code for each in at.routed.values() if each.route == "sticky"]
        assert sorted(codes) == ["drawn"] * 12 + ["sticky"] * 12


async def test_the_cheapest_is_by_the_prices_and_by_answers_as_long_as_they_were(nats: NatsServer) -> None:
    async with place(nats) as at:
        slip = await at.ask("cheap", input_tokens_estimate=1_000, max_output_tokens=100)
        assert slip.plan is not None
        assert [each.model for each in slip.plan.targets] == ["small", "other", "big"]
        await at.report("small", 5, output=9_000, route="cheap")
        async with asyncio.timeout(5):
            while await at.first("cheap", input_tokens_estimate=1_000) == "small":
                pass
        assert await at.first("cheap", input_tokens_estimate=1_000, max_output_tokens=100) == "small"
