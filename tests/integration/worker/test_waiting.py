"""A slip that waited for another request's answer until its own time was nearly over is taken again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from support.nats import eventually
from support.provider import Provider, answers

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.errors import BusUnavailable
from keyrail.bus.events import EventPublisher
from keyrail.bus.forward import Forwarder
from keyrail.bus.liveness import Hearing
from keyrail.contracts import frames, slips
from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ConfigView, ProviderConfig
from keyrail.contracts.events import AttemptSettled
from keyrail.contracts.frames import Kind, Passed
from keyrail.contracts.slips import CacheRule, Facts, Plan, Slip, Target
from keyrail.contracts.usage import Price
from keyrail.http.upstream import Upstream
from keyrail.keys.base import KeyReader
from keyrail.keys.book import KeyBook
from keyrail_provider_worker.attempt import Tools
from keyrail_provider_worker.breakers import Breakers
from keyrail_provider_worker.caching.cache import Cache
from keyrail_provider_worker.caching.turn import Tape, Turn
from keyrail_provider_worker.contents import Contents
from keyrail_provider_worker.deadlines import Deadlines
from keyrail_provider_worker.health import Healths
from keyrail_provider_worker.keyring import Keyring
from keyrail_provider_worker.runner import Runner
from keyrail_provider_worker.windows import Windows

BODY = b'{"id":"1","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":null}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
RULE = CacheRule(mode="on")


class Wire:
    """The bus: it remembers frames, and refuses those of one kind."""

    instance = "worker"
    connected = True

    def __init__(self, refuses: Kind | None = None) -> None:
        self.got: list[frames.Frame] = []
        self._refuses = refuses

    async def publish(self, _: str, message: bytes) -> None:
        found = list(frames.decode(message))
        if any(frame.kind == self._refuses for frame in found):
            raise BusUnavailable("away")
        self.got += found


class Ledger:
    clogged = False

    def __init__(self) -> None:
        self.settled: list[AttemptSettled] = []

    async def commit(self, event: object) -> None:
        pass

    def post(self, event: AttemptSettled) -> None:
        self.settled.append(event)


class NoKeys:
    async def keys(self, tenant: str, provider: str) -> list[object]:
        return []


class Vain:
    """A cache whose first turn comes after a long wait, without an answer."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[Price | None] = []

    async def open(self, slip: Slip, body: bytes, config: ProviderConfig) -> Turn:
        self.opened += 1
        return Turn("miss", RULE, "openai-chat", "t.k", tape=Tape(), leads=True)

    def close(self, turn: Turn, slip: Slip, price: Price | None, answer: bytes | None) -> None:
        self.closed.append(price)


def late_slip() -> Slip:
    now = now_ms()
    return Slip(
        request_id="r",
        inbox="_INBOX_ingress.i.r.1",
        tenant="t",
        key_id="k",
        received_ms=now,
        deadline_ms=now + 60_000,
        take_by_ms=now + 900,  # less than ENOUGH_MS: as after a wait
        facts=Facts(model="openai/gpt-x"),
        plan=Plan(strategy="direct", targets=(Target(provider="openai", model="gpt-x"),), cache=RULE),
    )


async def run(wire: Wire, check: Callable[[Vain, Ledger, Provider], Awaitable[None]]) -> None:
    provider, upstream = Provider(answers(ANSWER)), Upstream()
    await provider.open()
    await upstream.open()
    bus, ledger, vain = cast("Bus", wire), Ledger(), Vain()
    config = ProviderConfig(name="openai", base_url=f"http://127.0.0.1:{provider.port}/v1", needs_key=False)
    view = ConfigView(providers={"openai": config})
    store, events = cast("KeyReader", NoKeys()), cast("EventPublisher", ledger)
    keyring = Keyring(store, Healths(KeyBook(), cast("Documents", None), events, store, "worker"))
    contents = Contents(bus, lambda: view)
    cache = cast("Cache", vain)
    nothing = cast("Documents", None)  # nobody fails here
    tools = Tools(
        bus,
        events,
        upstream,
        keyring,
        lambda: view,
        Deadlines(),
        contents,
        Breakers(nothing),
        Windows(nothing),
        cache,
    )
    runner = Runner(tools, cast("Forwarder", None), cast("Hearing", None), 10)
    runner._loop = asyncio.get_running_loop()  # pyright: ignore[reportPrivateUsage]
    try:
        message: Any = type("Msg", (), {"data": slips.pack(late_slip(), b'{"messages":[]}')})()
        await runner.on_slip(message)
        await check(vain, ledger, provider)
        await runner.finish()
    finally:
        await upstream.close()
        await provider.close()


async def test_ingress_gives_it_a_new_time_and_the_same_worker_makes_the_call() -> None:
    wire = Wire()

    async def check(vain: Vain, ledger: Ledger, provider: Provider) -> None:
        await eventually(lambda: bool(ledger.settled))
        assert vain.opened == 1, "it waits once"
        assert [price is not None for price in vain.closed] == [True]
        assert len(provider.talks) == 1

    before = now_ms()
    await run(wire, check)
    kinds = [(frame.hop, frame.kind) for frame in wire.got]
    assert kinds == [
        (0, Kind.TAKEN),
        (0, Kind.PASSED),
        (1, Kind.TAKEN),
        (1, Kind.HEAD),
        (1, Kind.DATA),
        (1, Kind.END),
    ]
    passed = Passed.decode(wire.got[1].payload)
    assert passed.spent is None
    assert passed.take_by_ms >= before + slips.TAKE_BY_MS


async def test_when_ingress_can_not_be_told_somebody_else_leads() -> None:
    async def check(vain: Vain, ledger: Ledger, provider: Provider) -> None:
        await eventually(lambda: bool(vain.closed))
        assert vain.closed == [None]
        assert not provider.talks
        assert not ledger.settled

    await run(Wire(refuses=Kind.PASSED), check)
