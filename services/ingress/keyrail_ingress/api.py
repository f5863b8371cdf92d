"""The public paths: what each does with a request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from keyrail.bus.connection import Bus
from keyrail.bus.events import EventPublisher
from keyrail.contracts.base import new_id, now_ms
from keyrail.contracts.config import ConfigView, TokenRecord
from keyrail.contracts.events import RequestFinished, RequestStatus
from keyrail.contracts.failures import OVERLOADED, Failure
from keyrail.contracts.slips import TAKE_BY_MS, Facts, Slip, Timeouts
from keyrail.dialects import json_text
from keyrail.dialects.openai_chat import request as chat_request
from keyrail.dialects.openai_responses.stateless import unserved
from keyrail.http.request import Request
from keyrail.telemetry import metrics
from keyrail_ingress import admission, models
from keyrail_ingress.dispatch import Dispatcher
from keyrail_ingress.doors import CHAT, MESSAGES, Door
from keyrail_ingress.exchange import Exchange
from keyrail_ingress.inbox import Inbox
from keyrail_ingress.relay import Outcome, Relay, respond
from keyrail_ingress.settings import IngressSettings

ENVELOPE_ROOM = 64 * 1024
LONGEST_PASSED = 2_048
SINGLE_HEADERS = frozenset({b"authorization", b"x-api-key", b"x-keyrail-team", b"x-keyrail-feature"})
ENCODED = Failure(kind="bad_request", message="Content-Encoding is not accepted here.", status=415)


class Views:
    """Configuration and virtual keys as mirrored from the bus."""

    def __init__(self) -> None:
        self.config = ConfigView()
        self.tokens: dict[str, TokenRecord] = {}
        self.longest_ms = _longest_ms(self.config)

    def configure(self, config: ConfigView) -> None:
        """Take over a new revision."""
        self.config = config
        self.longest_ms = _longest_ms(config)


def _longest_ms(config: ConfigView) -> int:
    """The longest that any request may take: router and worker keep to its own route's limit."""
    totals = [Timeouts().total_s, *(route.timeouts.total_s for route in config.routes.values())]
    return round(1000 * max(totals))


class PublicApi:
    """Handlers of the public paths. Every one of them authenticates first."""

    def __init__(
        self,
        bus: Bus,
        views: Views,
        inbox: Inbox,
        dispatcher: Dispatcher,
        events: EventPublisher,
        settings: IngressSettings,
    ) -> None:
        self._bus = bus
        self._views = views
        self._inbox = inbox
        self._dispatcher = dispatcher
        self._events = events
        self._settings = settings

    def ask(self, door: Door, request: Request) -> None:
        """POST to one of DOORS."""
        caller = self._admit(request)
        if isinstance(caller, Failure):
            return self._refuse(door, request, caller)
        if request.headers.get(b"content-encoding", b"identity") != b"identity":
            return self._refuse(door, request, ENCODED)
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
        known = self._views.config.models
        if not wanted:
            query = request.query.decode("latin-1")
            found = models.page(known, query) if anthropic else models.listing(known)
        elif wanted in known:
            found = models.described(wanted) if anthropic else models.model(wanted)
        else:
            message = f"The model {wanted!r} does not exist here."
            found = Failure(kind="model_missing", message=message, status=404, code="model_not_found")
        if isinstance(found, Failure):
            return self._refuse(door, request, found)
        return request.answer(200, (("content-type", "application/json"),), json_text.dump(found))

    def unserved(self, request: Request) -> None:
        """What is below /v1/responses: it would need stored responses."""
        caller = self._admit(request)
        failure = caller if isinstance(caller, Failure) else unserved(request.method, request.path)
        self._refuse(CHAT, request, failure)

    def _asked(
        self, door: Door, request: Request, caller: TokenRecord, limit: int, body: bytes | None
    ) -> None:
        parsed = _parse(door, body) if body is not None else _too_large(limit)
        if isinstance(parsed, Failure):
            return self._refuse(door, request, parsed)
        if len(self._inbox.open) >= self._settings.max_in_flight or self._events.clogged:
            return self._refuse(door, request, OVERLOADED)
        document, facts = parsed
        relay = Relay(door, request, partial(self._finished, time.monotonic()))
        slip = self._slip(caller, facts)
        if door.passed and (passed := _passed(door, request.headers)):
            slip = slip.replace(passed=passed)
        relay.exchange = self._inbox.register(slip, json_text.dump(document), relay.wake)
        return self._dispatcher.submit(relay.exchange)

    def _finished(self, began: float, exchange: Exchange, outcome: Outcome) -> None:
        ended = time.monotonic()
        self._inbox.close(exchange, reason=_cancel_reason(outcome))
        slip = exchange.slip
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
            dispatches=slip.epoch + 1,
            ingress=self._bus.instance,
            received_ms=slip.received_ms,
            first_byte_ms=round((first - began) * 1000) if first is not None else None,
            duration_ms=round((ended - began) * 1000),
        )
        # Apart from the rest: CPython packs a call of more than 15 named arguments into a dictionary first.
        if outcome.failure is not None:
            event = event.replace(failure=outcome.failure.kind, detail=outcome.failure.code)
        self._events.post(event)
        metrics.REQUEST_SECONDS.observe(ended - began)
        metrics.counter(
            metrics.REQUESTS, f"{outcome.status // 100}xx", "yes" if slip.facts.stream else "no"
        ).inc()

    def _slip(self, caller: TokenRecord, facts: Facts) -> Slip:
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
        )

    def _admit(self, request: Request) -> TokenRecord | Failure:
        for name in request.repeated:
            if name in SINGLE_HEADERS:
                message = f"The header {name.decode()} was sent more than once."
                return Failure(kind="bad_request", message=message, status=400)
        headers = request.headers
        record = admission.authenticate(
            headers.get(b"authorization"), headers.get(b"x-api-key"), self._views.tokens
        )
        if isinstance(record, Failure):
            metrics.counter(metrics.AUTH_FAILURES, record.code or "").inc()
            return record
        team, feature = headers.get(b"x-keyrail-team"), headers.get(b"x-keyrail-feature")
        return record if team is feature is None else admission.tagged(record, team, feature)

    def _refuse(self, door: Door, request: Request, failure: Failure) -> None:
        metrics.counter(metrics.REQUESTS, f"{failure.status // 100}xx", "no").inc()
        respond(door, request, failure)


def _parse(door: Door, raw: bytes) -> tuple[dict[str, Any], Facts] | Failure:
    document = chat_request.read(raw)
    if isinstance(document, Failure):
        return document
    return door.check(document) or (document, door.facts(document))


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


def _cancel_reason(outcome: Outcome) -> str | None:
    if outcome.client_gone:
        return "client gone"
    if outcome.failure is not None and outcome.failure.kind in ("cancelled", "timeout", "internal"):
        return outcome.failure.kind
    return None
