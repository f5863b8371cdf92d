"""One handler for each path. What is answered is decided elsewhere."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs

import msgspec

from keyrail_sandbox import models as lists
from keyrail_sandbox import openai_errors
from keyrail_sandbox.ask import Refusal
from keyrail_sandbox.behaviour import parse
from keyrail_sandbox.calls import Call, CallLog
from keyrail_sandbox.exchange import Exchange, Scope
from keyrail_sandbox.play import Play
from keyrail_sandbox.routes import Route, is_googles

_CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"x-goog-api-key"})


async def complete(scope: Scope, exchange: Exchange, log: CallLog, route: Route) -> None:
    """Answer a call to a model and record how it went."""
    call = log.begin(scope["path"])
    version = None
    for name, value in scope["headers"]:
        if name == b"x-client-request-id":
            call.client_request_id = value.decode("latin-1")
        elif name in _CREDENTIALS:
            call.authorization_present = True
        elif name == b"anthropic-version":
            version = value.decode("latin-1")
    try:
        body = await exchange.body()
        if body is not None:
            await _answer(body, exchange, log, call, route, version)
    finally:
        exchange.stop()
        log.end(call, "done" if exchange.complete else "closed_by_client" if exchange.gone else "cut")


async def _answer(
    body: bytes, exchange: Exchange, log: CallLog, call: Call, route: Route, version: str | None
) -> None:
    came = msgspec.structs.replace(route.came, version=version) if version is not None else route.came
    ask = route.dialect.read(body, came)
    if isinstance(ask, Refusal):
        return await Play(exchange, call, route.dialect).refuse(ask)
    call.model, call.stream, call.extra = ask.model, ask.stream, ask.unknown
    behaviour = parse(ask.model)
    if behaviour is None:
        return await Play(exchange, call, route.dialect).refuse(Refusal(kind="missing", model=ask.model))
    counts = behaviour.flaky or behaviour.seldom or behaviour.metered
    turn = log.turn(ask.model) if counts else None
    if behaviour.seldom and turn is not None and turn % behaviour.seldom:
        behaviour = replace(behaviour, stall_s=0.0, slow_s=0.0, fault=None)
    return await Play(exchange, call, route.dialect, turn).answer(ask, behaviour)


async def models(scope: Scope, exchange: Exchange) -> None:
    """A name of each kind, in the shape of the provider that the headers or the path mean."""
    names = {name for name, _ in scope["headers"]}
    shape = lists.OPENAI
    if b"anthropic-version" in names:
        shape = lists.ANTHROPIC
    elif b"x-goog-api-key" in names or is_googles(scope["path"]):
        shape = lists.GEMINI
    await _json(exchange, 200, shape)


async def health(exchange: Exchange) -> None:
    """The process serves."""
    await _json(exchange, 200, b'{"status":"ok"}')


async def list_calls(scope: Scope, exchange: Exchange, log: CallLog) -> None:
    """The calls seen, oldest first; `?client_request_id=` picks."""
    wanted = parse_qs(scope["query_string"].decode("latin-1")).get("client_request_id")
    await _json(exchange, 200, log.as_json(wanted[0] if wanted else None))


async def clear_calls(exchange: Exchange, log: CallLog) -> None:
    """Forget the calls seen."""
    log.clear()
    await _json(exchange, 200, b'{"status":"ok"}')


async def unknown(scope: Scope, exchange: Exchange) -> None:
    """No such path, or not with this method."""
    message = f"Unknown request URL: {scope['method']} {scope['path']}."
    await _json(exchange, 404, openai_errors.error(Refusal(404, code="unknown_url", message=message)).body)


async def _json(exchange: Exchange, status: int, body: bytes) -> None:
    length = b"%d" % len(body)
    await exchange.begin(status, [(b"content-type", b"application/json"), (b"content-length", length)])
    await exchange.finish(body)
