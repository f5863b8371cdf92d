"""The OpenAI face: what each public path does with a request."""

from __future__ import annotations

import time
from typing import Any

from keyrail.bus.connection import Bus
from keyrail.bus.events import EventPublisher
from keyrail.contracts.base import Json, new_id, now_ms
from keyrail.contracts.config import ConfigView, TokenRecord
from keyrail.contracts.events import RequestFinished, RequestStatus
from keyrail.contracts.failures import OVERLOADED, Failure
from keyrail.contracts.slips import TAKE_BY_MS, Facts, Slip, Timeouts
from keyrail.dialects.openai_chat import request
from keyrail.http.server import Receive, Scope, Send
from keyrail.telemetry import metrics
from keyrail_ingress import admission, body
from keyrail_ingress.admission import Caller
from keyrail_ingress.dispatch import Dispatcher
from keyrail_ingress.exchange import Exchange
from keyrail_ingress.inbox import Inbox
from keyrail_ingress.relay import Outcome, Relay, respond
from keyrail_ingress.settings import IngressSettings

ENVELOPE_ROOM = 64 * 1024
SINGLE_HEADERS = (b"authorization", b"x-api-key", b"content-length", b"x-keyrail-team", b"x-keyrail-feature")


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


class OpenAIFace:
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

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/chat/completions."""
        headers = _headers(scope)
        if isinstance(headers, Failure):
            return await self._refuse(receive, send, headers)
        caller = self._admit(headers)
        if isinstance(caller, Failure):
            return await self._refuse(receive, send, caller)
        limit = min(self._settings.max_body_bytes, self._bus.max_message - ENVELOPE_ROOM)
        try:
            raw = await body.read(headers, receive, limit)
        except body.ClientGone:
            return None
        parsed = _parse(raw) if isinstance(raw, bytes) else raw
        if isinstance(parsed, Failure):
            return await self._refuse(receive, send, parsed)
        if len(self._inbox.open) >= self._settings.max_in_flight or self._events.clogged:
            return await self._refuse(receive, send, OVERLOADED)
        document, facts = parsed
        slip = self._slip(caller, facts)
        return await self._serve(slip, request.dump(document), receive, send)

    async def models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models and GET /v1/models/{id}."""
        headers = _headers(scope)
        caller = headers if isinstance(headers, Failure) else self._admit(headers)
        if isinstance(caller, Failure):
            return await self._refuse(receive, send, caller)
        path: str = scope["path"]
        wanted = path.removeprefix("/v1/models").removeprefix("/")
        known = self._views.config.models
        if not wanted:
            listing: list[Json] = [_model(name) for name in known]
            return await _json(send, {"object": "list", "data": listing})
        if wanted not in known:
            message = f"The model {wanted!r} does not exist here."
            missing = Failure(kind="model_missing", message=message, status=404, code="model_not_found")
            return await self._refuse(receive, send, missing)
        return await _json(send, _model(wanted))

    async def _serve(self, slip: Slip, payload: bytes, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        relay = Relay(receive, send)
        exchange = self._inbox.register(slip, payload, relay.wake)
        metrics.REQUESTS_IN_FLIGHT.inc()
        outcome = Outcome(500, None, False, None)
        try:
            await self._dispatcher.dispatch(exchange)
            outcome = await relay.run(exchange)
        finally:
            metrics.REQUESTS_IN_FLIGHT.dec()
            await self._inbox.close(exchange, reason=_cancel_reason(outcome))
            self._finished(exchange, outcome, began, time.monotonic())

    def _finished(self, exchange: Exchange, outcome: Outcome, began: float, ended: float) -> None:
        slip = exchange.slip
        status: RequestStatus = "failed" if outcome.failure or outcome.status >= 400 else "ok"
        if outcome.client_gone:
            status = "cancelled"
        first = outcome.first_byte_at
        self._events.post(
            RequestFinished(
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
                failure=outcome.failure.kind if outcome.failure else None,
                detail=outcome.failure.code if outcome.failure else None,
                dispatches=slip.epoch + 1,
                ingress=self._bus.instance,
                received_ms=slip.received_ms,
                first_byte_ms=round((first - began) * 1000) if first is not None else None,
                duration_ms=round((ended - began) * 1000),
            )
        )
        metrics.REQUEST_SECONDS.observe(ended - began)
        metrics.counter(
            metrics.REQUESTS, f"{outcome.status // 100}xx", "yes" if slip.facts.stream else "no"
        ).inc()

    def _slip(self, caller: Caller, facts: Facts) -> Slip:
        now = now_ms()
        return Slip(
            request_id=new_id(),
            inbox=self._inbox.address(),
            tenant=caller.tenant,
            key_id=caller.key_id,
            team=caller.team,
            feature=caller.feature,
            received_ms=now,
            deadline_ms=now + self._views.longest_ms,
            take_by_ms=now + TAKE_BY_MS,
            facts=facts,
        )

    def _admit(self, headers: dict[bytes, bytes]) -> Caller | Failure:
        record = admission.authenticate(
            _text(headers.get(b"authorization")), _text(headers.get(b"x-api-key")), self._views.tokens
        )
        if isinstance(record, Failure):
            metrics.counter(metrics.AUTH_FAILURES, record.code or "").inc()
            return record
        return admission.tagged(
            record, _text(headers.get(b"x-keyrail-team")), _text(headers.get(b"x-keyrail-feature"))
        )

    async def _refuse(self, receive: Receive, send: Send, failure: Failure) -> None:
        metrics.counter(metrics.REQUESTS, f"{failure.status // 100}xx", "no").inc()
        unread = failure.status in (413, 415)  # the connection can't be used again
        closing = [("connection", "close")] if unread else []
        await respond(send, failure, closing, last=not unread)
        if unread:
            await body.discard(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _parse(raw: bytes) -> tuple[dict[str, Any], Facts] | Failure:
    document = request.read(raw)
    if isinstance(document, Failure):
        return document
    return request.check(document) or (document, request.facts(document))


def _headers(scope: Scope) -> dict[bytes, bytes] | Failure:
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(pairs)
    if len(headers) != len(pairs):
        names = [name for name, _ in pairs]
        for name in SINGLE_HEADERS:
            if names.count(name) > 1:
                message = f"The header {name.decode()} was sent more than once."
                return Failure(kind="bad_request", message=message, status=400)
    return headers


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _cancel_reason(outcome: Outcome) -> str | None:
    if outcome.client_gone:
        return "client gone"
    if outcome.failure is not None and outcome.failure.kind in ("cancelled", "timeout", "internal"):
        return outcome.failure.kind
    return None


def _model(name: str) -> dict[str, Json]:
    owner = name.partition("/")[0] if "/" in name else "keyrail"
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


async def _json(send: Send, document: dict[str, Json]) -> None:
    payload = request.dump(document)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": payload})
