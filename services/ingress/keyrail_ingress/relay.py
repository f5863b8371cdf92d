"""Relaying an exchange to the client: nothing here waits, all is called. The bytes come ready to send."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from keyrail.contracts.failures import Failure
from keyrail.contracts.frames import End
from keyrail.contracts.slips import Spent
from keyrail.http.request import Request
from keyrail_ingress.doors import Door
from keyrail_ingress.exchange import Exchange

UNREADABLE = Failure(
    kind="internal", message="A part of the answer could not be read.", status=502, code="answer_lost"
)


@dataclass(slots=True)
class Outcome:
    """How the request ended for the client. `first_byte_at` is monotonic, None when nothing was sent.

    `tokens`: of prompt and answer, as their worker said.
    """

    status: int
    failure: Failure | None
    client_gone: bool
    first_byte_at: float | None
    tokens: int | None = None


Finished = Callable[[Exchange, Outcome], None]


class Relay:
    """One request's way back. `finished` is called once: at the end, or when the client is gone.

    `limits`: headers that say what is left of them.
    """

    __slots__ = ("_door", "_finished", "_first_byte_at", "_limits", "_request", "_started", "exchange")

    exchange: Exchange

    def __init__(
        self, door: Door, request: Request, finished: Finished, limits: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._limits = limits
        self._door = door
        self._request = request
        self._finished: Finished | None = finished
        self._first_byte_at: float | None = None
        self._started = False
        request.on_gone = self._gone
        request.on_writable = self.wake

    def wake(self) -> None:
        """There is something new, or the client reads again: write all there is in one go."""
        exchange, request = self.exchange, self._request
        if exchange.overflowed:
            request.abort()  # and then the client is gone
            return
        if self._finished is None or not request.writable:
            return
        parts: list[bytes] = []
        item = exchange.take()
        while isinstance(item, bytes):
            parts.append(item)
            item = exchange.take()
        if item is None and not parts:
            return
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if (parts or isinstance(item, End)) and not (self._started or self._start()):
            body, item = b"", UNREADABLE
        if item is None:
            request.send(body)
        elif isinstance(item, End):
            request.end(body)
            self._done(Outcome(self._status(), None, False, self._first_byte_at, _tokens(item)))
        else:
            self._fail(item, body)

    def _start(self) -> bool:
        self._first_byte_at = time.monotonic()
        exchange = self.exchange
        headers = exchange.head.headers if exchange.head else ()
        try:
            self._request.start(self._status(), (*headers, *self._ids()))
        except ValueError:
            return False
        self._started = True
        return True

    def _fail(self, failure: Failure, body: bytes) -> None:
        request = self._request
        if not self._started:
            self._first_byte_at = time.monotonic()
            respond(self._door, request, failure, self._failure_headers())
            self._done(Outcome(failure.status, failure, False, self._first_byte_at))
            return
        if self.exchange.slip.facts.stream:
            request.end(body + self._door.render_event(failure))
        else:
            request.send(body)
            request.cut()
        self._done(Outcome(self._status(), failure, False, self._first_byte_at))

    def _ids(self) -> list[tuple[str, str]]:
        """The request's id, and once more where clients of the dialect look for one; then the limits."""
        request_id = self.exchange.slip.request_id
        return [("x-keyrail-request-id", request_id), (self._door.id_header, request_id), *self._limits]

    def _status(self) -> int:
        return self.exchange.head.status if self.exchange.head else 200

    def _gone(self) -> None:
        self._done(Outcome(499, None, True, self._first_byte_at))

    def _done(self, outcome: Outcome) -> None:
        finished, self._finished = self._finished, None
        if finished is not None:
            finished(self.exchange, outcome)

    def _failure_headers(self) -> list[tuple[str, str]]:
        exchange = self.exchange
        headers = self._ids()
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


def _tokens(end: End) -> int | None:
    """None where one of them is unknown."""
    if end.input_tokens is None or end.output_tokens is None:
        return None
    return end.input_tokens + end.output_tokens


def total(spent: tuple[Spent, ...]) -> Decimal | None:
    """The sum over all attempts; None as soon as one is unknown."""
    costs = [s.cost_usd for s in spent]
    return sum((c for c in costs if c is not None), Decimal(0)) if None not in costs else None


def respond(door: Door, request: Request, failure: Failure, extra: Sequence[tuple[str, str]] = ()) -> None:
    """Answer with a failure in the client's error format."""
    status, headers, body = door.render(failure)
    request.answer(status, (*headers, *extra), body)
