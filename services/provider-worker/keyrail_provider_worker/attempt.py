"""One attempt from slip to ledger: take, commit to the ledger, call, settle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from keyrail.bus.connection import Bus
from keyrail.bus.errors import BusError
from keyrail.bus.events import EventPublisher
from keyrail.bus.reply import CHUNK, Reply
from keyrail.contracts.base import new_id, now_ms
from keyrail.contracts.budgets import ZERO
from keyrail.contracts.config import ConfigView, ProviderConfig
from keyrail.contracts.events import AttemptStarted
from keyrail.contracts.failures import Failure
from keyrail.contracts.frames import CONTENT, End, Kind, Taken
from keyrail.contracts.slips import RACING, Slip
from keyrail.contracts.usage import Price
from keyrail.dialects import ways
from keyrail.dialects.continuing import Continuation, Recorder
from keyrail.http.upstream import NotWritten, Upstream
from keyrail.keys.outage import KEY_REFUSED
from keyrail.telemetry import metrics
from keyrail_provider_worker import asking, billing, fallback, midstream, render, settle
from keyrail_provider_worker.asking import Prepared
from keyrail_provider_worker.breakers import Breakers
from keyrail_provider_worker.caching.cache import Cache
from keyrail_provider_worker.caching.turn import Hit, Turn
from keyrail_provider_worker.call import Call
from keyrail_provider_worker.contents import Contents, Kept, KeptReply
from keyrail_provider_worker.deadlines import Deadlines
from keyrail_provider_worker.keyring import Keyring
from keyrail_provider_worker.settle import Course
from keyrail_provider_worker.standing import LOST_RACE, Place
from keyrail_provider_worker.windows import Windows

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What every attempt of this worker uses."""

    bus: Bus
    events: EventPublisher
    upstream: Upstream
    keyring: Keyring
    view: Callable[[], ConfigView]
    deadlines: Deadlines
    contents: Contents
    breakers: Breakers
    windows: Windows
    cache: Cache


HANDED_ON = Failure(kind="cancelled", message="The slip was handed on.", status=499, code="handed_on")
LEDGER_AWAY = Failure(
    kind="unavailable",
    message="The ledger does not acknowledge, so nothing is called.",
    status=503,
    code="ledger_unavailable",
    retry_after_s=1,
)
CANCELLED = Failure(kind="cancelled", message="The request was cancelled.", status=499)
WAITED = Failure(kind="cancelled", message="The slip waited for another.", status=499, code="waited")
ENOUGH_MS = 1_000
"""What has to be left of a slip's time for a call after it waited; with less it is taken again."""
BROKEN_OFF = Failure(kind="internal", message="The attempt broke off.", status=500)


class Attempt:
    """Runs once. `cost_usd` and `key_id`, the provider key that was used, are known after `run`."""

    def __init__(
        self,
        slip: Slip,
        body: bytes,
        tools: Tools,
        *,
        continuation: Continuation | None = None,
        turn: Turn | None = None,
    ) -> None:
        """`continuation`: what the client has already, for an attempt that goes on with it."""
        self.slip = slip
        self.turn = turn  # given where the slip has waited for the cache before
        self.waited = False  # for another's answer, in vain: the slip is to be taken again
        self._continuation = continuation
        self._recorder: Recorder | None = None
        self.id = new_id()
        self._kept: Kept | None = None
        tenant = tools.view().tenants.get(slip.tenant)
        if tenant is None or tenant.contents is None:
            self.reply = Reply(tools.bus, slip)
        else:
            self._kept = tools.contents.begin(body)
            self.reply = KeptReply(tools.bus, slip, self._kept)
        self.cost_usd: Decimal | None = None
        self.key_id: str | None = None
        self.handed_on = False  # too late: somebody else has the slip, say nothing
        self.began_ms = now_ms()
        self._target = slip.target
        self._body = body
        self._tools = tools
        self._course = Course()
        self._call = Call(slip, self.reply, self._course, tools.deadlines, self._heard)
        self._started: AttemptStarted | None = None
        self._price: Price | None = None
        self._view = tools.view()
        self._dropped: tuple[str, ...] = ()
        self._task: asyncio.Task[object] | None = None
        self._took_too_long = False
        self.place = Place() if slip.role in RACING else None

    @property
    def content_sent(self) -> bool:
        """Whether the client has a part of the answer."""
        return self._call.content_sent

    @property
    def head_sent(self) -> bool:
        """Whether the client has a status line."""
        return self._call.head_sent

    @property
    def continuation(self) -> Continuation | None:
        """What another target could go on with, after `run`; None: nothing that is safe to."""
        if self._recorder is not None and self._recorder.safe:
            return self._recorder.result(self._course.usage)
        return self._continuation if self._course.first_content_ms is None else None

    async def run(self) -> Failure | None:
        """None: the client has the whole answer. The ledger has the attempt in every case."""
        failure: Failure | None = BROKEN_OFF
        try:
            failure = await self._run()
        except asyncio.CancelledError:
            lost = self.place is not None and self.place.standing == "lost"
            failure = LOST_RACE if lost else CANCELLED
        except BusError as error:
            log.warning("the answer could not be sent on", extra={"error": type(error).__name__})
            failure = Failure(kind="cancelled", message="The way to the client is closed.", status=499)
        except Exception:  # the edge of one attempt: a bug must not leave its client without an answer
            log.exception("the attempt broke off", extra={"request_id": self.slip.request_id})
        finally:
            if self.place is not None:
                await self.place.settle(self.slip, failure, content_sent=self.content_sent)
            if not self.waited:
                self._settle(failure)
                self._close_turn(failure)
            if self._kept is not None:
                self._tools.contents.end(self._kept, self._started, self.slip.facts.dialect)
        return failure

    async def _run(self) -> Failure | None:
        target = self._target
        self._view = self._tools.view()
        config = self._view.providers.get(target.provider)
        if config is None:
            message = f"The provider {target.provider!r} is not configured."
            return Failure(kind="model_missing", message=message, status=404, code="model_not_found")
        slip = self.slip
        tried = fallback.tried(slip.spent, target, slip.rounds) if slip.spent else ()
        key = await self._tools.keyring.choose(
            slip.tenant,
            target.provider,
            needed=config.needs_key,
            tried=tried,
            scarce=self._scarce if self._tools.windows.any else None,
        )
        await self.reply.send(
            Kind.TAKEN,
            Taken(
                worker=self._tools.bus.instance,
                attempt_id=self.id,
                provider=target.provider,
                model=target.model,
            ),
        )
        if asking.counts_here(self.slip, config):
            return await self._count_here()
        assert self.slip.plan is not None
        if self.slip.plan.cache is not None and await self._look(config):
            return WAITED if self.waited else None
        self.key_id = None if isinstance(key, Failure) else key.id
        refusal = await self._commit()
        if refusal is not None:
            return refusal
        if isinstance(key, Failure):
            return key
        secret = key.value.reveal() if key.value is not None else None
        prepared = self._prepare(config, secret)
        if isinstance(prepared, Failure):
            return prepared
        self._dropped = prepared.dropped
        self._tools.windows.sent(self.slip, self.key_id)
        try:
            failure = await self._call.run(self._tools.upstream, prepared)
        except NotWritten:
            self.handed_on = True
            return HANDED_ON
        if failure is None:
            await self._answer()
        elif failure.kind in KEY_REFUSED and key.id is not None:
            return await self._tools.keyring.refused(self.slip.tenant, target.provider, key, failure)
        return failure

    def _scarce(self, key_ids: Collection[str]) -> Collection[str]:
        return self._tools.windows.scarce(self.slip, self._target, key_ids)

    def _heard(self, fields: Mapping[bytes, bytes]) -> None:
        self._tools.windows.heard(self.slip, self.key_id, fields)

    def _prepare(self, config: ProviderConfig, secret: str | None) -> Prepared | Failure:
        begun, body = self._continuation, self._body
        if begun is not None:
            unfinished = asking.unfinished(self.slip, body, begun)
            if unfinished is None:
                return BROKEN_OFF
            body = unfinished
        prepared = asking.prepare(self.slip, body, config, secret, self.id)
        recorded = midstream.wanted(self.slip)
        if isinstance(prepared, Failure) or (begun is None and not recorded):
            return prepared
        prepared = asking.going_on(prepared, self._body, begun, recorded=recorded)
        self._recorder = prepared.recorder
        return prepared

    async def _count_here(self) -> Failure | None:
        """Tokens for a provider that can't count: nobody is called, so there is nothing for the ledger."""
        body = ways.estimated(self._body)
        if isinstance(body, Failure):
            return body
        self.reply.hold(Kind.HEAD, render.head(self.slip, (), length=len(body), cost_usd=Decimal(0)))
        self.reply.hold(Kind.DATA, body, CONTENT)
        await self.reply.send(Kind.END, End(cost_usd=Decimal(0)))
        return None

    async def _look(self, config: ProviderConfig) -> bool:
        """Whether this attempt is over before anybody was called: it was answered, or has `waited`."""
        if self.turn is None:
            self.turn = await self._tools.cache.open(self.slip, self._body, config)
            self.waited = self.turn.hit is None and now_ms() > self.slip.take_by_ms - ENOUGH_MS
        self._call.turn = self.turn
        if self.turn.hit is not None:
            await self._replay(self.turn.hit)
        return self.waited or self.turn.hit is not None

    async def _replay(self, hit: Hit) -> None:
        """Answer out of the cache. The ledger has what it did cost when it was made; no key was used."""
        self._started = self._start_event()
        self._price = Price(cost_usd=ZERO, source="cache", uncached_usd=hit.entry.cost_usd, basis="exact")
        self._course.finish = hit.entry.finish
        self._course.first_content_ms = max(0, now_ms() - self.began_ms)
        assert self.turn is not None
        cost = render.total(self.slip, ZERO)
        length = None if self.slip.facts.stream else len(hit.body)
        if not self._call.head_sent:
            head = render.head(self.slip, (), length=length, cost_usd=cost, more=self.turn.headers)
            self.reply.hold(Kind.HEAD, head)
        if len(hit.body) > CHUNK:
            await self.reply.send(Kind.DATA, hit.body, CONTENT)
        else:
            self.reply.hold(Kind.DATA, hit.body, CONTENT)
        end = End(finish=hit.entry.finish, cost_usd=cost, input_tokens=0, output_tokens=0)
        await self.reply.send(Kind.END, end)

    def _close_turn(self, failure: Failure | None) -> None:
        if self.turn is not None:
            price = self._price if failure is None else None
            self._tools.cache.close(self.turn, self.slip, price, self._call.answer)

    async def _commit(self) -> Failure | None:
        """Have the attempt on the ledger before anything is paid for. No acknowledgement means no call."""
        if self._tools.events.clogged:
            return LEDGER_AWAY
        self._started = self._start_event()
        left_s = (self.slip.take_by_ms - now_ms()) / 1000
        task = self._task = asyncio.current_task()
        assert task is not None
        self._tools.deadlines.set(self, time.monotonic() + left_s, self._on_take_by)
        try:
            await self._tools.events.commit(self._started)
        except asyncio.CancelledError:
            if self._took_too_long and task.uncancel() == 0:
                return LEDGER_AWAY
            raise
        finally:
            self._tools.deadlines.drop(self)
        return None

    def _on_take_by(self) -> None:
        self._took_too_long = True
        if self._task is not None:
            self._task.cancel()

    async def _answer(self) -> None:
        """The rest of a whole answer: its price, its head, its end."""
        assert self._started is not None
        self._price = self._paid(self._started, None)
        cost = render.total(self.slip, self._price.cost_usd)
        body = self._call.answer
        if body is not None:
            more = self.turn.headers if self.turn is not None else ()
            head = render.head(self.slip, self._dropped, length=len(body), cost_usd=cost, more=more)
            self.reply.hold(Kind.HEAD, head)
            if len(body) > CHUNK:
                await self.reply.send(Kind.DATA, body, CONTENT)
            else:
                self.reply.hold(Kind.DATA, body, CONTENT)  # leaves together with the end
        usage = self._course.usage
        end = End(
            finish=self._course.finish,
            cost_usd=cost,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
        )
        await self.reply.send(Kind.END, end)

    def _paid(self, started: AttemptStarted, failure: Failure | None) -> Price:
        course, facts = self._course, self.slip.facts
        if facts.operation == "count_tokens":
            return settle.NOT_BILLED
        if failure is None and not course.usage.estimated:
            return settle.price(started, course, self._view)
        usage, basis = billing.billed(course.usage, failure, facts, started.provider)
        if usage is None:
            return settle.NOT_BILLED if not settle.billable(course) else Price()
        return settle.price(started, course, self._view, usage, basis)

    def _settle(self, failure: Failure | None) -> None:
        provider = self._target.provider
        upstream = self.turn is None or self.turn.hit is None  # an answer out of the cache is nobody's
        if upstream:
            metrics.counter(metrics.ATTEMPTS, provider, failure.kind if failure else "ok").inc()
        if self._started is None:
            self.cost_usd = ZERO  # nobody was called
            return
        if failure is not None:
            self._tools.breakers.failed(self._target, failure, self.began_ms)
            self._tools.windows.refused(self.slip, self.key_id, failure)
        elif upstream:
            self._tools.breakers.succeeded(self._target)
        paid = self._price or self._paid(self._started, failure)
        self.cost_usd = paid.cost_usd
        standing = self.place.standing if self.place is not None else None
        self._tools.events.post(settle.settled(self._started, self._course, failure, paid, standing))
        _count(provider, self._course, paid.cost_usd)
        if failure is not None:
            log.info(
                "attempt failed",
                extra={
                    "request_id": self.slip.request_id,
                    "attempt_id": self.id,
                    "provider": provider,
                    "kind": failure.kind,
                    "status": failure.upstream_status,
                },
            )

    def _start_event(self) -> AttemptStarted:
        slip = self.slip
        assert slip.plan is not None
        started = AttemptStarted(
            attempt_id=self.id,
            request_id=slip.request_id,
            epoch=slip.epoch,
            hop=slip.hop,
            tenant=slip.tenant,
            key_id=slip.key_id,
            team=slip.team,
            feature=slip.feature,
            route=slip.plan.route,
            strategy=slip.plan.strategy,
            revision=slip.plan.revision,
            provider=self._target.provider,
            model=self._target.model,
            provider_key_id=self.key_id,
            worker=self._tools.bus.instance,
            stream=slip.facts.stream,
            started_ms=self.began_ms,
        )
        # Apart from the rest: CPython packs a call of more than 15 named arguments into a dictionary first.
        more: dict[str, object] = {"received_ms": slip.received_ms}
        if slip.hold is not None:
            more |= {"router": slip.hold.router, "held_usd": slip.hold.most[slip.position]}
        if slip.spent or slip.before:
            more["number"] = 1 + slip.before + sum(each.attempt_id is not None for each in slip.spent)
        if slip.role != "serve":
            more["role"] = slip.role
        if (reference := slip.plan.reference) is not None:
            more["reference"] = f"{reference.provider}/{reference.model}"
        return started.replace(**more)


def _count(provider: str, course: Course, cost_usd: Decimal | None) -> None:
    if cost_usd is None:
        metrics.counter(metrics.UNKNOWN_PRICE, provider).inc()
    else:
        metrics.counter(metrics.COST_USD, provider).inc(float(cost_usd))
    metrics.counter(metrics.TOKENS, provider, "input").inc(course.usage.input_tokens or 0)
    metrics.counter(metrics.TOKENS, provider, "output").inc(course.usage.output_tokens or 0)
