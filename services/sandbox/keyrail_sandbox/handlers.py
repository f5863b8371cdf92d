"""One handler for each path. What is answered is decided elsewhere."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec

from keyrail_sandbox import openai_chat
from keyrail_sandbox.ask import Refusal
from keyrail_sandbox.behaviour import MODELS, parse
from keyrail_sandbox.calls import Call, CallLog
from keyrail_sandbox.dialect import Dialect
from keyrail_sandbox.exchange import Exchange, Scope
from keyrail_sandbox.play import Play

_CREATED = 1_750_000_000  # any fixed instant: the list of models does not change
_MODEL_LIST = msgspec.json.encode(
    {
        "object": "list",
        "data": [{"id": m, "object": "model", "created": _CREATED, "owned_by": "sandbox"} for m in MODELS],
    }
)


async def complete(scope: Scope, exchange: Exchange, log: CallLog, dialect: Dialect) -> None:
    """Answer a call to a model and record how it went."""
    call = log.begin(scope["path"])
    for name, value in scope["headers"]:
        if name == b"x-client-request-id":
            call.client_request_id = value.decode("latin-1")
        elif name == b"authorization":
            call.authorization_present = True
    try:
        body = await exchange.body()
        if body is not None:
            await _answer(body, exchange, log, call, dialect)
    finally:
        exchange.stop()
        log.end(call, "done" if exchange.complete else "closed_by_client" if exchange.gone else "cut")


async def _answer(body: bytes, exchange: Exchange, log: CallLog, call: Call, dialect: Dialect) -> None:
    ask = dialect.read(body)
    if isinstance(ask, Refusal):
        return await Play(exchange, call, dialect).refuse(ask)
    call.model, call.stream, call.extra = ask.model, ask.stream, ask.unknown
    behaviour = parse(ask.model)
    if behaviour is None:
        missing = Refusal(404, message=f"The model '{ask.model}' does not exist.", param="model")
        return await Play(exchange, call, dialect).refuse(missing)
    turn = log.turn(ask.model) if behaviour.flaky or behaviour.metered else None
    return await Play(exchange, call, dialect, turn).answer(ask, behaviour)


async def models(exchange: Exchange) -> None:
    """A name of each kind."""
    await _json(exchange, 200, _MODEL_LIST)


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
    await _json(exchange, 404, openai_chat.error(Refusal(404, code="unknown_url", message=message)))


async def _json(exchange: Exchange, status: int, body: bytes) -> None:
    length = b"%d" % len(body)
    await exchange.begin(status, [(b"content-type", b"application/json"), (b"content-length", length)])
    await exchange.finish(body)
