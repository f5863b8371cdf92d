"""Relaying an exchange to the client over ASGI. The bytes come ready to send."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from decimal import Decimal

from keyrail.contracts.failures import Failure
from keyrail.contracts.frames import End, Head
from keyrail.contracts.slips import Spent
from keyrail.dialects.openai_chat import errors
from keyrail.http.server import Receive, Send, abort
from keyrail_ingress.exchange import Exchange, Item


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the request ended for the client. `first_byte_at` is monotonic, None when nothing was sent."""

    status: int
    failure: Failure | None
    client_gone: bool
    first_byte_at: float | None


class Relay:
    """One request's way back."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._waiter: asyncio.Future[None] | None = None
        self._exchange: Exchange | None = None
        self._gone = False
        self._closed = False
        self._first_byte_at: float | None = None

    def wake(self) -> None:
        """There is something new."""
        if self._exchange is not None and self._exchange.overflowed:
            abort(self._send)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def run(self, exchange: Exchange) -> Outcome:
        """Relay until the end, or until the client is gone."""
        self._exchange = exchange
        watcher = asyncio.ensure_future(self._watch())
        started = False
        try:
            while True:
                item = await self._next(exchange)
                if item is None:
                    return Outcome(499, None, True, self._first_byte_at)
                if not started and not isinstance(item, Failure):
                    started = True
                    await self._start(exchange)
                if isinstance(item, bytes):
                    item = await self._data(exchange, item)
                if item is not None:
                    return await self._end(exchange, item, started)
        except OSError:
            return Outcome(499, None, True, self._first_byte_at)
        finally:
            watcher.cancel()

    async def _watch(self) -> None:
        await self._receive()  # after the body: http.disconnect
        self._gone = True
        self.wake()

    async def _next(self, exchange: Exchange) -> Item | None:
        while not self._gone:
            item = exchange.take()
            if item is not None:
                return item
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return None

    async def _start(self, exchange: Exchange) -> None:
        self._first_byte_at = time.monotonic()
        head = exchange.head or Head(status=200, headers=())
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head.headers]
        headers.append((b"x-keyrail-request-id", exchange.slip.request_id.encode()))
        await self._send({"type": "http.response.start", "status": head.status, "headers": headers})

    async def _data(self, exchange: Exchange, first: bytes) -> End | Failure | None:
        """Send what is queued in one go; returns the end when it came with it."""
        parts = [first]
        end: End | Failure | None = None
        while (item := exchange.take()) is not None:
            if not isinstance(item, bytes):
                end = item
                break
            parts.append(item)
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        last = isinstance(end, End)
        await self._send({"type": "http.response.body", "body": body, "more_body": not last})
        if last:
            self._closed = True
        return end

    async def _end(self, exchange: Exchange, item: End | Failure, started: bool) -> Outcome:
        if isinstance(item, Failure):
            return await self._fail(exchange, item, started)
        if not self._closed:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        return Outcome(exchange.head.status if exchange.head else 200, None, False, self._first_byte_at)

    async def _fail(self, exchange: Exchange, failure: Failure, started: bool) -> Outcome:
        if started:
            if exchange.slip.facts.stream:
                event = errors.render_event(failure)
                await self._send({"type": "http.response.body", "body": event, "more_body": False})
            # otherwise the body stays short of its content-length: the server breaks the connection off
            return Outcome(
                exchange.head.status if exchange.head else 200, failure, False, self._first_byte_at
            )
        self._first_byte_at = time.monotonic()
        await respond(self._send, failure, self._failure_headers(exchange))
        return Outcome(failure.status, failure, False, self._first_byte_at)

    def _failure_headers(self, exchange: Exchange) -> list[tuple[str, str]]:
        headers = [("x-keyrail-request-id", exchange.slip.request_id)]
        if exchange.spent:
            last = exchange.spent[-1]
            headers += [
                ("x-keyrail-provider", last.provider),
                ("x-keyrail-model", last.model),
                ("x-keyrail-attempts", str(len(exchange.spent))),
            ]
            if (cost := total(exchange.spent)) is not None:
                headers.append(("x-keyrail-cost-usd", format(cost, "f")))
        return headers


def total(spent: tuple[Spent, ...]) -> Decimal | None:
    """The sum over all attempts; None as soon as one is unknown."""
    costs = [s.cost_usd for s in spent]
    return sum((c for c in costs if c is not None), Decimal(0)) if None not in costs else None


async def respond(send: Send, failure: Failure, extra: list[tuple[str, str]], *, last: bool = True) -> None:
    """Answer with a failure in the OpenAI error shape. Not `last`: the caller ends the response."""
    status, headers, body = errors.render(failure)
    raw = [(n.encode("latin-1", "replace"), v.encode("latin-1", "replace")) for n, v in [*headers, *extra]]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": not last})
