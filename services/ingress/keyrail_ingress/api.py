"""The public paths: what each does with a request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from keyrail.bus.connection import Bus
from keyrail.bus.events import EventPublisher
from keyrail.caching import rule
from keyrail.contracts.base import new_id, now_ms
from keyrail.contracts.config import TokenRecord
from keyrail.contracts.events import RequestFinished, RequestStatus
from keyrail.contracts.failures import OVERLOADED, Failure
from keyrail.contracts.slips import TAKE_BY_MS, Facts, Slip
from keyrail.dialects import bounds, json_text
from keyrail.dialects.openai_chat import request as chat_request
from keyrail.dialects.openai_responses.stateless import unserved
from keyrail.http.request import Request
from keyrail.telemetry import metrics
from keyrail_ingress import admission, models
from keyrail_ingress.admission import Refusal
from keyrail_ingress.dispatch import Dispatcher
from keyrail_ingress.doors import CHAT, MESSAGES, Door
from keyrail_ingress.exchange import Exchange
from keyrail_ingress.inbox import Inbox
from keyrail_ingress.limits import answers as limit_answers
from keyrail_ingress.limits.lease import Lease, Refused, tokens_of
from keyrail_ingress.limits.limiter import Limiter, Ticket, Waiter
from keyrail_ingress.relay import Outcome, Relay, respond
from keyrail_ingress.settings import IngressSettings
from keyrail_ingress.views import Terms, Views

ENVELOPE_ROOM = 64 * 1024
LONGEST_PASSED = 2_048
CACHE_MODE, CACHE_TTL = rule.MODE_HEADER.encode(), rule.TTL_HEADER.encode()
SINGLE_HEADERS = frozenset(
    {b"authorization", b"x-api-key", b"x-keyrail-team", b"x-keyrail-feature", CACHE_MODE, CACHE_TTL}
)
ENCODED = Failure(kind="bad_request", message="Content-Encoding is not accepted here.", status=415)


@dataclass(slots=True)
class Asked:
    """A request for a model that was read and may be admitted. `began` is monotonic."""

    door: Door
    request: Request
    slip: Slip
    document: dict[str, Any]
    leases: tuple[Lease, ...]
    began: float
    waited: bool = False


class PublicApi:
    """Handlers of the public paths. Every one of them authenticates first."""

    def __init__(
        self,
        bus: Bus,
        views: Views,
        inbox: Inbox,
        dispatcher: Dispatcher,
        limiter: Limiter,
        events: EventPublisher,
        settings: IngressSettings,
    ) -> None:
        self._bus = bus
        self._views = views
        self._inbox = inbox
        self._dispatcher = dispatcher
        self._limiter = limiter
        self._events = events
        self._settings = settings

    def ask(self, door: Door, request: Request) -> None:
        """POST to one of DOORS."""
        caller = self._admit(request)
        if isinstance(caller, Failure):
            return self._refuse(door, request, caller)
        if request.headers.get(b"content-encoding", b"identity") != b"identity":
            return self._refuse(door, request, ENCODED, caller)
        limit = min(self._settings.max_body_bytes, self._bus.max_message - ENVELOPE_ROOM)
        return request.read(limit, partial(self._asked, door, request, caller, limit))

    def models(self, request: Request) -> None:
        """GET /v1/models and GET /v1/models/{id}: Anthropic's shape for who says `anthropic-version`."""
        anthropic = b"anthropic-version" in request.headers
        door = MESSAGES if anthropic else CHAT
        caller = self._admit(request)
        if isinstance(caller, Failure):
            return self._refuse(door, request, caller)
        wanted = request.path.removeprefix("/v1/models").removeprefix("/")
        known = self._views.terms(caller).models
        if not wanted:
            query = request.query.decode("latin-1")
            found = models.page(known, query) if anthropic else models.listing(known)
        elif wanted in known:
            found = models.described(wanted) if anthropic else models.model(wanted)
        else:
            message = f"The model {wanted!r} does not exist here."
            found = Failure(kind="model_missing", message=message, status=404, code="model_not_found")
        if isinstance(found, Failure):
            return self._refuse(door, request, found, caller)
        headers = (("content-type", "application/json"), *self._limits(door, caller))
        return request.answer(200, headers, json_text.dump(found))

    def unserved(self, request: Request) -> None:
        """What is below /v1/responses: it would need stored responses."""
        caller = self._admit(request)
        failure = caller if isinstance(caller, Failure) else unserved(request.method, request.path)
        self._refuse(CHAT, request, failure)

    def _asked(
        self, door: Door, request: Request, caller: TokenRecord, limit: int, body: bytes | None
    ) -> None:
        parsed = _parse(door, request.headers, body) if body is not None else _too_large(limit)
        if isinstance(parsed, Failure):
            return self._refuse(door, request, parsed, caller)
        under_way = len(self._inbox.open) + self._limiter.waiting
        if under_way >= self._settings.max_in_flight or self._events.clogged:
            return self._refuse(door, request, OVERLOADED, caller)
        began = time.monotonic()
        document, facts = parsed
        terms = self._views.terms(caller)
        if terms.hard and body is not None:
            facts = bounds.bounded(document, facts, len(body), self._views.config.output_cap)
        slip = self._prepared(door, request, caller, facts, terms)
        asked = Asked(door, request, slip, document, terms.leases, began)
        if not terms.leases:
            return self._submit(asked, None)
        waiter = self._limiter.admit(terms.leases, tokens_of(facts), partial(self._decided, asked))
        if waiter is not None:
            asked.waited = True
            request.on_gone = partial(self._left, asked, waiter)
        return None

    def _prepared(
        self, door: Door, request: Request, caller: TokenRecord, facts: Facts, terms: Terms
    ) -> Slip:
        """The slip: here facts and what applies to the caller meet, and nothing is on its way yet."""
        now = now_ms()
        return Slip(
            request_id=new_id(),
            inbox=self._inbox.address(),
            tenant=caller.tenant,
            key_id=caller.id,
            team=caller.team,
            feature=caller.feature,
            received_ms=now,
            deadline_ms=now + self._views.longest_ms,
            take_by_ms=now + TAKE_BY_MS,
            facts=facts,
            models=caller.models,
            charges=terms.charges,
            passed=_passed(door, request.headers) if door.passed else {},
        )

    def _decided(self, asked: Asked, decision: Ticket | Refused) -> None:
        if isinstance(decision, Refused):
            return self._limited(asked, decision)
        if asked.waited:
            asked.slip = asked.slip.replace(take_by_ms=now_ms() + TAKE_BY_MS)
        return self._submit(asked, decision)

    def _submit(self, asked: Asked, ticket: Ticket | None) -> None:
        door = asked.door
        limits = door.limit_headers(asked.leases, now_ms()) if asked.leases else ()
        relay = Relay(door, asked.request, partial(self._finished, asked.began, ticket), limits)
        relay.exchange = self._inbox.register(asked.slip, json_text.dump(asked.document), relay.wake)
        self._dispatcher.submit(relay.exchange)

    def _limited(self, asked: Asked, refused: Refused) -> None:
        """A limit refuses it: an answer, and a row on the ledger."""
        metrics.counter(metrics.LIMIT_REFUSALS, refused.kind or "unavailable").inc()
        now = now_ms()
        slip, door = asked.slip, asked.door
        failure, headers = limit_answers.refusal(refused, slip.facts.dialect, now)
        headers += door.limit_headers(asked.leases, now)
        headers += (("x-keyrail-request-id", slip.request_id), (door.id_header, slip.request_id))
        asked.request.on_gone = None
        respond(door, asked.request, failure, headers)
        detail = f"{failure.code}: {refused.kind or 'unavailable'} of {refused.lease.owner}"
        self._tell(slip, asked.began, Outcome(failure.status, failure, False, time.monotonic()), 0, detail)

    def _left(self, asked: Asked, waiter: Waiter) -> None:
        """The client is gone while its limits were looked at."""
        waiter.leave()
        self._tell(asked.slip, asked.began, Outcome(499, None, True, None), 0)

    def _finished(self, began: float, ticket: Ticket | None, exchange: Exchange, outcome: Outcome) -> None:
        if ticket is not None:
            ticket.finish(_tokens(exchange, outcome))
        self._inbox.close(exchange, reason=_cancel_reason(outcome))
        detail = outcome.failure.code if outcome.failure is not None else None
        self._tell(exchange.slip, began, outcome, exchange.slip.epoch + 1, detail)

    def _tell(
        self, slip: Slip, began: float, outcome: Outcome, dispatches: int, detail: str | None = None
    ) -> None:
        """Post the event of a request that is over, and count it."""
        ended = time.monotonic()
        status: RequestStatus = "failed" if outcome.failure or outcome.status >= 400 else "ok"
        if outcome.client_gone:
            status = "cancelled"
        first = outcome.first_byte_at
        event = RequestFinished(
            request_id=slip.request_id,
            tenant=slip.tenant,
            key_id=slip.key_id,
            team=slip.team,
            feature=slip.feature,
            model=slip.facts.model,
            dialect=slip.facts.dialect,
            stream=slip.facts.stream,
            status=status,
            http_status=outcome.status,
            dispatches=dispatches,
            ingress=self._bus.instance,
            received_ms=slip.received_ms,
            first_byte_ms=round((first - began) * 1000) if first is not None else None,
            duration_ms=round((ended - began) * 1000),
        )
        # Apart from the rest: CPython packs a call of more than 15 named arguments into a dictionary first.
        if outcome.failure is not None:
            event = event.replace(failure=outcome.failure.kind, detail=detail)
        self._events.post(event)
        metrics.REQUEST_SECONDS.observe(ended - began)
        metrics.counter(
            metrics.REQUESTS, f"{outcome.status // 100}xx", "yes" if slip.facts.stream else "no"
        ).inc()

    def _admit(self, request: Request) -> TokenRecord | Failure:
        for name in request.repeated:
            if name in SINGLE_HEADERS:
                message = f"The header {name.decode()} was sent more than once."
                return Failure(kind="bad_request", message=message, status=400)
        headers = request.headers
        record = (admission.in_query(request.query) if request.query else None) or admission.authenticate(
            headers.get(b"authorization"), headers.get(b"x-api-key"), self._views.tokens, now_ms()
        )
        if isinstance(record, Refusal):
            metrics.counter(metrics.AUTH_FAILURES, record.reason).inc()
            return record.failure
        team, feature = headers.get(b"x-keyrail-team"), headers.get(b"x-keyrail-feature")
        return record if team is feature is None else admission.tagged(record, team, feature)

    def _refuse(
        self, door: Door, request: Request, failure: Failure, caller: TokenRecord | None = None
    ) -> None:
        metrics.counter(metrics.REQUESTS, f"{failure.status // 100}xx", "no").inc()
        respond(door, request, failure, self._limits(door, caller) if caller is not None else ())

    def _limits(self, door: Door, caller: TokenRecord) -> list[tuple[str, str]]:
        leases = self._views.terms(caller).leases
        return door.limit_headers(leases, now_ms()) if leases else []


def _parse(door: Door, headers: Mapping[bytes, bytes], raw: bytes) -> tuple[dict[str, Any], Facts] | Failure:
    document = chat_request.read(raw)
    if isinstance(document, Failure):
        return document
    problem = door.check(document)
    if problem is not None:
        return problem
    facts = door.facts(document)
    mode, ttl = headers.get(CACHE_MODE), headers.get(CACHE_TTL)
    if mode is ttl is None:
        return document, facts
    ask = rule.asked(_text(mode), _text(ttl))
    return ask if isinstance(ask, Failure) else (document, facts.replace(cache=ask))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _passed(door: Door, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Headers for a provider of the client's dialect; one that is no plain text is not passed on."""
    found: dict[str, str] = {}
    for name in door.passed:
        value = headers.get(name)
        if value is not None and len(value) <= LONGEST_PASSED and value.isascii():
            text = value.decode()
            if text.isprintable():
                found[name.decode()] = text
    return found


def _too_large(limit: int) -> Failure:
    return Failure(
        kind="bad_request",
        message=f"The request body is larger than {limit} bytes.",
        status=413,
        code="request_too_large",
    )


def _tokens(exchange: Exchange, outcome: Outcome) -> int | None:
    """What a request used, for its limits: nothing where nobody was called. None: unknown."""
    if outcome.failure is not None and exchange.attempt is None and not exchange.spent:
        return 0
    return outcome.tokens


def _cancel_reason(outcome: Outcome) -> str | None:
    if outcome.client_gone:
        return "client gone"
    if outcome.failure is not None and outcome.failure.kind in ("cancelled", "timeout", "internal"):
        return outcome.failure.kind
    return None
