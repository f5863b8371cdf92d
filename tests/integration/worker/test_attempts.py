"""One attempt, with a real provider on loopback and a bus that only remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, cast

import pytest
from support.nats import eventually
from support.provider import Provider, Script, Talk, answers, once

from keyrail.bus.connection import Bus
from keyrail.bus.documents import Documents
from keyrail.bus.events import EventPublisher
from keyrail.contracts import frames
from keyrail.contracts.base import now_ms
from keyrail.contracts.config import ConfigView, ProviderConfig
from keyrail.contracts.events import AttemptSettled
from keyrail.contracts.frames import Kind
from keyrail.contracts.slips import Facts, Plan, Slip, Target, Timeouts
from keyrail.http.upstream import Upstream
from keyrail.keys.base import KeyReader
from keyrail.keys.book import KeyBook
from keyrail_provider_worker.attempt import Attempt, Tools
from keyrail_provider_worker.breakers import Breakers
from keyrail_provider_worker.caching.cache import Cache
from keyrail_provider_worker.contents import Contents
from keyrail_provider_worker.deadlines import Deadlines
from keyrail_provider_worker.health import Healths
from keyrail_provider_worker.keyring import Keyring
from keyrail_provider_worker.windows import Windows

BODY = b'{"id":"1","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":null}'
ANSWER = b"HTTP/1.1 200 OK\r\nX-Request-Id: up-1\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Ledger:
    """Acknowledges, unless told not to; keeps what was settled."""

    clogged = False

    def __init__(self) -> None:
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()
        self.asked = asyncio.Event()
        self.settled: list[AttemptSettled] = []

    async def commit(self, event: object) -> None:
        self.asked.set()
        await self.acknowledges.wait()

    def post(self, event: AttemptSettled) -> None:
        self.settled.append(event)


class Frames:
    """Takes the place of the bus: an inbox that is read here."""

    instance = "worker"

    def __init__(self) -> None:
        self.got: list[frames.Frame] = []

    async def publish(self, _: str, message: bytes) -> None:
        self.got += frames.decode(message)


class Documented:
    """A bucket that takes what it is given."""

    async def change(self, name: str, change: Callable[[bytes | None], tuple[bytes | None, Any]]) -> Any:
        return change(None)[1]


class NoKeys:
    async def keys(self, tenant: str, provider: str) -> list[object]:
        return []


class Worker:
    """The tools of an attempt."""

    def __init__(self, upstream: Upstream, port: int) -> None:
        self.bus = Frames()
        self.ledger = Ledger()
        config = ProviderConfig(name="openai", base_url=f"http://127.0.0.1:{port}/v1", needs_key=False)
        view = ConfigView(providers={"openai": config})
        self.contents = Contents(cast("Bus", self.bus), lambda: view)
        store = cast("KeyReader", NoKeys())
        events = cast("EventPublisher", self.ledger)
        healths = Healths(KeyBook(), cast("Documents", None), events, store, "worker")
        self.breakers = Breakers(cast("Documents", Documented()))
        self._tools = Tools(
            cast("Bus", self.bus),
            cast("EventPublisher", self.ledger),
            upstream,
            Keyring(store, healths),
            lambda: view,
            Deadlines(),
            self.contents,
            self.breakers,
            Windows(cast("Documents", None)),
            Cache(cast("Bus", self.bus)),
        )

    def attempt(
        self, *, take_by_s: float = 3.0, total_s: float = 5.0, stream: bool = False, **timeouts: float
    ) -> Attempt:
        now = now_ms()
        slip = Slip(
            request_id="r",
            inbox="_INBOX_ingress.i.r.1",
            tenant="default",
            key_id="k",
            received_ms=now,
            deadline_ms=now + round(total_s * 1000),
            take_by_ms=now + round(take_by_s * 1000),
            facts=Facts(model="openai/gpt-x", stream=stream),
            plan=Plan(
                strategy="direct",
                targets=(Target(provider="openai", model="gpt-x"),),
                timeouts=Timeouts(**timeouts),
            ),
        )
        return Attempt(slip, b'{"messages":[]}', self._tools)

    @property
    def settled(self) -> AttemptSettled:
        (event,) = self.ledger.settled
        return event


@asynccontextmanager
async def at_work(script: Script) -> AsyncGenerator[tuple[Worker, Provider]]:
    provider, upstream = Provider(script), Upstream()
    await provider.open()
    await upstream.open()
    try:
        yield Worker(upstream, provider.port), provider
    finally:
        await upstream.close()
        await provider.close()


async def test_an_answer_is_sent_on_and_settled() -> None:
    async with at_work(answers(ANSWER)) as (worker, provider):
        assert await worker.attempt().run() is None
    assert [frame.kind for frame in worker.bus.got] == [Kind.TAKEN, Kind.HEAD, Kind.DATA, Kind.END]
    assert worker.bus.got[2].payload == BODY
    event = worker.settled
    assert (event.status, event.http_status, event.upstream_id, event.finish) == ("ok", 200, "up-1", "stop")
    head, _ = provider.talks[0].requests[0]
    assert b"POST /v1/chat/completions HTTP/1.1\r\n" in head
    assert b"\r\naccept-encoding: identity\r\n" in head
    assert b"\r\nx-client-request-id: %b\r\n" % event.started.attempt_id.encode() in head


async def test_without_an_acknowledgement_in_time_nothing_is_called() -> None:
    async with at_work(answers(ANSWER)) as (worker, provider):
        worker.ledger.acknowledges.clear()
        failure = await asyncio.wait_for(worker.attempt(take_by_s=0.1).run(), 5)
        assert failure is not None
        assert failure.code == "ledger_unavailable"
        assert provider.talks == []
        assert worker.settled.price.cost_usd == Decimal(0)


async def test_a_cancel_while_the_ledger_is_waited_for_is_a_cancel() -> None:
    async with at_work(answers(ANSWER)) as (worker, provider):
        worker.ledger.acknowledges.clear()
        task = asyncio.create_task(worker.attempt().run())
        await asyncio.wait_for(worker.ledger.asked.wait(), 5)
        task.cancel()
        failure = await task
        assert failure is not None
        assert failure.kind == "cancelled"
        assert provider.talks == []


async def test_a_slip_that_was_handed_on_meanwhile_is_not_called() -> None:
    async with at_work(answers(ANSWER)) as (worker, provider):
        attempt = worker.attempt(take_by_s=-0.001)
        failure = await asyncio.wait_for(attempt.run(), 5)
        assert failure is not None
        assert attempt.handed_on or failure.code == "ledger_unavailable"
        assert [talk.requests for talk in provider.talks if talk.requests] == []


async def test_a_request_whose_time_is_over_is_not_called() -> None:
    async with at_work(answers(ANSWER)) as (worker, provider):
        failure = await asyncio.wait_for(worker.attempt(total_s=0).run(), 5)
        assert failure is not None
        assert failure.code == "timeout_total"
        assert provider.talks == []
        assert worker.settled.price.source == "not-billed"


async def closes_under_the_second(talk: Talk) -> None:
    await talk.request()
    await talk.say(ANSWER)
    await talk.request()


async def test_a_stale_connection_falls_over_and_its_cost_is_unknown() -> None:
    async with at_work(closes_under_the_second) as (worker, provider):
        assert await worker.attempt().run() is None
        worker.ledger.settled.clear()
        failure = await worker.attempt().run()
        assert failure is not None
        assert (failure.kind, failure.code, failure.falls_over) == ("connection", "connection_stale", True)
        assert worker.settled.price.cost_usd is None
        assert len(provider.talks[0].requests) == 2


async def waits_for_nobody(talk: Talk) -> None:
    await talk.request()
    await talk.left()


async def cuts_an_answer(talk: Talk) -> None:
    await talk.request()
    await talk.say(ANSWER[:-9])


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        (once(b""), "connection", "connection_failed"),
        (cuts_an_answer, "truncated", "answer_truncated"),
        (once(b"SMTP ready\r\n\r\n"), "garbage", "bad_answer"),
        (
            once(b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\nx"),
            "garbage",
            "bad_answer",
        ),
        (waits_for_nobody, "timeout", "timeout_first_byte"),
    ],
)
async def test_what_goes_wrong_has_its_kind_and_may_be_tried_elsewhere(
    script: Any, kind: str, code: str
) -> None:
    async with at_work(script) as (worker, _):
        failure = await worker.attempt(first_byte_s=0.2).run()
    assert failure is not None
    assert (failure.kind, failure.code, failure.falls_over) == (kind, code, True)
    assert worker.settled.price.cost_usd is None, "who knows whether it was answered and will be billed"
    assert "127.0.0.1" not in failure.message


async def test_where_nobody_listens_nothing_is_billed() -> None:
    async with at_work(answers(ANSWER)) as (worker, provider):
        await provider.close()
        failure = await worker.attempt().run()
        assert failure is not None
        assert (failure.kind, failure.code) == ("connection", "connection_failed")
        assert worker.settled.price.source == "not-billed"


@pytest.mark.parametrize("coding", [b"identity", b"gzip"])
async def test_a_refusal_that_cannot_be_read_is_known_by_its_status(coding: bytes) -> None:
    huge = b"HTTP/1.1 429 Slow\r\ncontent-encoding: %b\r\nretry-after: 7\r\ncontent-length: 2000000\r\n\r\n"
    async with at_work(answers(huge % coding + bytes(2_000_000))) as (worker, _):
        failure = await worker.attempt().run()
    assert failure is not None
    assert (failure.kind, failure.retry_after_s) == ("rate", 7.0)


ROLE = b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
SAYS = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
FINISH = b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
STREAMS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


async def test_a_stream_without_content_is_given_up_after_its_own_time() -> None:
    gone = asyncio.Event()

    async def begins(talk: Talk) -> None:
        await talk.request()
        await talk.say(STREAMS + ROLE)
        await talk.left()
        gone.set()

    async with at_work(begins) as (worker, _):
        attempt = worker.attempt(stream=True, first_token_s=0.2)
        failure = await asyncio.wait_for(attempt.run(), 5)
        await asyncio.wait_for(gone.wait(), 5)
    assert failure is not None
    assert (failure.kind, failure.code, failure.status) == ("timeout", "timeout_first_token", 504)
    assert not attempt.content_sent
    assert worker.settled.http_status == 200


async def test_a_stream_that_has_begun_to_speak_may_take_its_time() -> None:
    async def speaks(talk: Talk) -> None:
        await talk.request()
        await talk.say(STREAMS + ROLE + SAYS)
        await asyncio.sleep(0.4)  # twice the time that its first content had
        await talk.say(FINISH, b"data: [DONE]\n\n")

    async with at_work(speaks) as (worker, _):
        assert await worker.attempt(stream=True, first_token_s=0.2).run() is None


async def test_a_cancel_is_not_taken_for_a_first_token_that_came_too_late() -> None:
    async def begins(talk: Talk) -> None:
        await talk.request()
        await talk.say(STREAMS + ROLE)
        await talk.left()

    async with at_work(begins) as (worker, provider):
        task = asyncio.create_task(worker.attempt(stream=True, first_token_s=30).run())
        await eventually(lambda: any(talk.requests for talk in provider.talks))
        task.cancel()
        failure = await task
    assert failure is not None
    assert failure.kind == "cancelled"


async def test_failures_of_attempts_open_the_breaker_and_one_that_succeeds_counts_too() -> None:
    failing = b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\n{}"
    told = iter([failing] * 4 + [ANSWER] + [failing] * 5)

    async def by_turns(talk: Talk) -> None:
        while True:
            await talk.request()
            await talk.say(next(told))

    async with at_work(by_turns) as (worker, _):
        target = worker.attempt().slip.target
        for number in range(10):
            failure = await worker.attempt().run()
            assert (failure is None) == (number == 4)
            assert (worker.breakers.open_until_ms(target) is not None) == (number == 9)
