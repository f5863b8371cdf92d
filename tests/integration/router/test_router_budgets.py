"""Three routers' budgets on a real nats-server."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from nats.aio.msg import Msg
from support.nats import NatsServer, eventually

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.contracts import frames, slips, streams, subjects
from keyrail.contracts.base import encode_all, now_ms
from keyrail.contracts.budgets import Budget, SpendDocument, document_key
from keyrail.contracts.config import ConfigView, ModelPrice, ProviderConfig
from keyrail.contracts.failures import Failure
from keyrail.contracts.frames import Fail, Kind
from keyrail.contracts.ledger import HoldQuery, LedgerPage, LedgerQuery
from keyrail.contracts.signals import HoldSettled
from keyrail.contracts.slips import Charge, Facts, Plan, Slip, Target
from keyrail_router import accounts
from keyrail_router.app import Router
from keyrail_router.budgets import Budgets

VIEW = ConfigView(
    providers={
        "own": ProviderConfig(
            name="own",
            base_url="http://x",
            prices={"*": ModelPrice(input=Decimal(0), output=Decimal(1_000_000))},
        )
    }
)
PLAN = Plan(strategy="direct", targets=(Target(provider="own", model="m"),))
NUMBERS = count()


def charge(usd: int, scope: str = "key.k", *, soft: bool = False) -> Charge:
    return Charge(scope=scope, budget=Budget(usd=Decimal(usd), per="day", soft=soft))


class Routers:
    """Routers without requests: what they reserve is asked for here, and settled by a worker's messages."""

    def __init__(self, nats: NatsServer) -> None:
        self.nats = nats
        self.buses: list[Bus] = []
        self.all: list[Budgets] = []
        self.worker: Bus

    async def start(self, number: int) -> None:
        for _ in range(number):
            bus = await self.nats.bus("router")
            budgets = Budgets(bus)
            budgets.start()
            self.buses.append(bus)
            self.all.append(budgets)
        self.worker = await self.nats.bus("provider-worker")
        for bus in self.buses:
            await bus.nc.flush()

    async def ask(
        self, number: int, *charges: Charge, usd: int = 1, deadline_ms: int = 600_000
    ) -> Slip | Failure:
        """A request that can cost so many dollars, at one of the routers."""
        now = now_ms()
        slip = Slip(
            request_id=f"r{next(NUMBERS)}",
            inbox="i",
            tenant="t",
            key_id="k",
            received_ms=now,
            deadline_ms=now + deadline_ms,
            take_by_ms=now + 3_000,
            facts=Facts(model="m", input_tokens_most=1, max_output_tokens=usd),
            charges=charges,
        )
        budgets = self.all[number % len(self.all)]
        claim = budgets.claim(slip, PLAN, VIEW)
        if isinstance(claim, Failure):
            return claim
        if not budgets.take(claim) and (failure := await budgets.wait(claim)) is not None:
            return failure
        return budgets.held(claim, slip.deadline_ms)

    async def many(self, requests: int, *charges: Charge, usd: int = 1) -> list[Slip]:
        """Those that pass of so many at once, spread over the routers."""
        found = await asyncio.gather(*(self.ask(n, *charges, usd=usd) for n in range(requests)))
        return [each for each in found if isinstance(each, Slip)]

    def settle(self, slip: Slip, cost: Decimal | None) -> None:
        assert slip.hold is not None
        told = HoldSettled(
            request_id=slip.request_id, epoch=0, hop=0, cost_usd=cost, held_usd=slip.hold.most[0]
        )
        self.worker.send(subjects.settled(slip.hold.router), encode_all([told]))

    async def document(self, scope: str = "key.k") -> SpendDocument:
        found = await Documents(self.buses[0], streams.BUDGETS.name).get(document_key(scope, "day", now_ms()))
        return SpendDocument.decode(found) if found else SpendDocument()

    async def closed(self, usd: Decimal | int, scope: str = "key.k", within_s: float = 5.0) -> SpendDocument:
        """The document once so much is closed and nothing granted."""
        async with asyncio.timeout(within_s):
            while True:
                document = await self.document(scope)
                if document.closed_usd == document.committed_usd == usd:
                    return document
                await asyncio.sleep(0.02)


@asynccontextmanager
async def routers(nats: NatsServer, number: int = 3) -> AsyncGenerator[Routers]:
    running = Routers(nats)
    await running.start(number)
    try:
        yield running
    finally:
        for budgets in running.all:
            await budgets.stop()
        for bus in (*running.buses, running.worker):
            await bus.close()


async def test_of_many_at_once_exactly_as_many_pass_as_there_is_money_for(nats: NatsServer) -> None:
    async with routers(nats) as at:
        passed = await at.many(120, charge(10))
        assert len(passed) == 10
        assert (await at.document()).committed_usd == 10
        for slip in passed:
            at.settle(slip, Decimal(1))
        await at.closed(10)
        assert await at.many(3, charge(10)) == []


async def test_what_was_not_spent_can_be_spent_by_any_router(nats: NatsServer) -> None:
    async with routers(nats) as at:
        for slip in await at.many(30, charge(10)):
            at.settle(slip, Decimal("0.1"))
        await at.closed(1)
        assert len(await at.many(30, charge(10))) == 9


async def test_what_is_free_goes_back_when_nobody_asks(nats: NatsServer) -> None:
    async with routers(nats) as at:
        (slip,) = await at.many(1, charge(1_000))
        granted = (await at.document()).committed_usd
        assert granted == 125
        assert isinstance(await at.ask(0, charge(1_000)), Slip)
        assert (await at.document()).committed_usd == granted, "out of the lease, without the bus"
        at.settle(slip, Decimal(1))
        async with asyncio.timeout(5):
            while (await at.document()).committed_usd != 2:
                await asyncio.sleep(0.02)


async def test_all_documents_pay_or_none(nats: NatsServer) -> None:
    async with routers(nats) as at:
        charges = charge(10), charge(4, "team.t.x"), charge(7, "tenant.t")
        passed = await at.many(40, *charges)
        assert len(passed) == 4
        for slip in passed:
            at.settle(slip, Decimal(1))
        for scope in ("key.k", "team.t.x", "tenant.t"):
            await at.closed(4, scope)
        assert len(await at.many(40, charges[0], charges[2])) == 3


async def test_what_no_worker_told_is_asked_of_the_ledger(nats: NatsServer) -> None:
    async with routers(nats, 1) as at:
        accounting = await nats.bus("cost-accounting")
        asked: list[HoldQuery] = []
        rows: list[dict[str, Any]] = [
            {"attempts": 1, "running": 1, "cost_usd": "0", "unknown": []},
            {"attempts": 2, "running": 0, "cost_usd": "0.5", "unknown": ["1", None]},
        ]

        async def answer(msg: Msg) -> None:
            query = LedgerQuery.decode(msg.data).query
            assert isinstance(query, HoldQuery)
            asked.append(query)
            await accounting.publish(msg.reply, LedgerPage(rows=[rows[len(asked) - 1]]).encode())

        accounting.listen(subjects.LEDGER, answer, queue="cost-accounting")
        await accounting.nc.flush()
        slip = await at.ask(0, charge(10), usd=3)
        assert isinstance(slip, Slip)
        await at.all[0].ask_ledger(slip.request_id)
        assert (await at.document()).committed_usd == 3, "one of its attempts still runs"
        await at.all[0].ask_ledger(slip.request_id)
        await at.closed(Decimal("1.5"))
        assert asked[0] == HoldQuery(request_id=slip.request_id, router=at.buses[0].instance)
        await accounting.close()


async def test_a_router_that_leaves_keeps_nothing_but_what_is_held(nats: NatsServer) -> None:
    async with routers(nats) as at:
        passed = await at.many(6, charge(1_000))
        held = next(slip for slip in passed if slip.hold and slip.hold.router == at.buses[0].instance)
        for slip in passed:
            if slip is not held:
                at.settle(slip, Decimal(1))
        await at.worker.nc.flush()
        for bus in at.buses:
            await bus.nc.flush()
        for budgets in at.all:
            await budgets.stop()
        document = await at.document()
        assert document.leases.keys() == {at.buses[0].instance}, (
            "the others have nothing that is to be closed"
        )
        assert (document.closed_usd, document.committed_usd) == (5, 6)
        assert document.leases[at.buses[0].instance].folded == 1


async def test_a_soft_budget_is_counted_by_all_and_alerted_once(nats: NatsServer) -> None:
    async with routers(nats) as at:
        for slip in await at.many(12, charge(5, soft=True)):
            at.settle(slip, Decimal(1))
        document = await at.closed(12)
        assert document.alerted == ("5/soft",)


async def test_without_the_bus_nothing_more_than_the_leases_is_spent(nats: NatsServer) -> None:
    async with routers(nats) as at:
        passed = await at.many(3, charge(40))
        leased = (await at.document()).committed_usd
        nats.signal(signal.SIGSTOP)
        asking = [asyncio.create_task(at.ask(n, charge(40))) for n in range(60)]
        await asyncio.sleep(0)  # each gets as far as it gets without the bus
        done = [task.result() for task in asking if task.done()]
        assert len(done) + 3 <= leased, "what is left of the leases, and the rest waits"
        nats.signal(signal.SIGCONT)
        passed += [each for each in await asyncio.gather(*asking) if isinstance(each, Slip)]
        assert len(passed) == 40
        for slip in passed:
            at.settle(slip, Decimal(1))
        await at.closed(40)


async def test_a_killed_nats_server_costs_no_money_and_forgets_none(nats: NatsServer) -> None:
    async with routers(nats) as at:
        passed = await at.many(9, charge(40))
        asking = [asyncio.create_task(at.ask(n, charge(40))) for n in range(100)]
        await asyncio.sleep(0)
        await nats.restart()
        answers = await asyncio.gather(*asking)
        passed += [each for each in answers if isinstance(each, Slip)]
        kinds = Counter(each.code for each in answers if isinstance(each, Failure))
        assert kinds.keys() <= {"budget_exceeded", "budget_unavailable"}
        assert len(passed) <= 40
        for bus in (*at.buses, at.worker):
            await asyncio.wait_for(bus.nc.flush(), 10)
        for slip in passed:
            at.settle(slip, Decimal(1))
        await at.closed(len(passed), within_s=20)
        rest = await at.many(100, charge(40))
        assert len(rest) == 40 - len(passed)


async def test_a_lease_that_was_forgotten_in_memory_goes_on_from_its_document(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "FORGET_S", -1.0)
    async with routers(nats, 1) as at:
        for usd in (1, 2, 3):
            (slip,) = await at.many(1, charge(3))
            at.settle(slip, Decimal(1))
            document = await at.closed(usd)
            assert document.leases[at.buses[0].instance].folded == usd
            known = at.all[0].accounts
            await eventually(lambda known=known: not len(known))
        assert await at.many(1, charge(3)) == []


class Heard:
    """An ingress' inbox for one request."""

    def __init__(self) -> None:
        self.failure: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()

    async def on_frame(self, msg: Msg) -> None:
        for frame in frames.decode(msg.data):
            if frame.kind == Kind.FAIL:
                self.failure.set_result(Fail.decode(frame.payload).failure)


async def sent(nats: NatsServer, **changes: Any) -> tuple[Failure, SpendDocument]:
    """What a whole router, without any worker, answers to a request, and the document then."""
    control, ingress, bus = [await nats.bus(name) for name in ("control", "ingress", "router")]
    await (await control.js.key_value(streams.CONFIG.name)).put("current", VIEW.encode())
    router = Router(bus)
    await router.start()
    heard, now = Heard(), now_ms()
    inbox = f"{ingress.inbox}.r.1"
    ingress.listen(inbox, heard.on_frame)
    slip = Slip(
        request_id="r",
        inbox=inbox,
        tenant="t",
        key_id="k",
        received_ms=now,
        deadline_ms=now + 60_000,
        take_by_ms=now + 3_000,
        facts=Facts(model="own/m", input_tokens_most=1, max_output_tokens=2),
        charges=(charge(10),),
    )
    await ingress.publish(subjects.REQUEST, slips.pack(slip.replace(**changes), b"{}"))
    failure = await asyncio.wait_for(heard.failure, 10)
    await router.drain()
    found = await Documents(control, streams.BUDGETS.name).get(document_key("key.k", "day", now))
    for each in (control, ingress, bus):
        await each.close()
    return failure, SpendDocument.decode(found) if found else SpendDocument()


async def test_where_no_worker_is_nothing_stays_held(nats: NatsServer) -> None:
    failure, document = await sent(nats)
    assert failure.code == "no_worker"
    assert document == SpendDocument()


async def test_a_request_that_no_budget_pays_for_is_refused(nats: NatsServer) -> None:
    failure, document = await sent(nats, charges=(charge(1),))
    assert (failure.kind, failure.status) == ("budget", 429)
    assert document == SpendDocument(alerted=("1",))


async def test_a_key_that_may_not_ask_for_a_model_is_refused_before_its_budget_is_looked_at(
    nats: NatsServer,
) -> None:
    failure, document = await sent(nats, models=("other/*",))
    assert (failure.kind, failure.status, failure.code) == ("denied", 403, "model_not_allowed")
    assert document == SpendDocument()
