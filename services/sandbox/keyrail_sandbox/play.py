"""Play a behaviour onto an exchange: answers, delays and faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keyrail_sandbox.answer import Answer, compose
from keyrail_sandbox.ask import Ask, Refusal
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.calls import Call
from keyrail_sandbox.dialect import Dialect
from keyrail_sandbox.exchange import Exchange

LONGEST_HANG_S = 120.0
_GARBAGE = b"\x00\xff\xfe<<< neither JSON nor an event \xc3\x28 }{\n"
_KEEPALIVE = b": keepalive\n\n"
_SPLIT_PAUSE_S = 0.001  # long enough for the two halves to be two reads

_Headers = list[tuple[bytes, bytes]]


class Play:
    """One call being answered. `turn` is its number among the calls of a counting model, else None."""

    def __init__(self, exchange: Exchange, call: Call, dialect: Dialect, turn: int | None = None) -> None:
        self._exchange = exchange
        self._call = call
        self._dialect = dialect
        self._turn = turn

    async def answer(self, ask: Ask, behaviour: Behaviour) -> None:
        """Answer as the behaviour says; stop early when the client leaves or is to be cut off."""
        if ask.stream or behaviour.stall_s or behaviour.slow_s or behaviour.fault == "hang":
            self._exchange.watch()
        if behaviour.stall_s and not await self._exchange.pause(behaviour.stall_s):
            return
        if behaviour.flaky and (self._turn or 0) % behaviour.flaky:
            await self.refuse(Refusal(500))
            return
        if behaviour.fault is not None and await self._failed(ask, behaviour):
            return
        answer = compose(ask, behaviour)
        if ask.stream:
            await self._stream(ask, answer, behaviour)
        else:
            await self._whole(ask, answer, behaviour)

    async def refuse(self, refusal: Refusal, retry_after_s: int | None = None) -> None:
        """An error of the dialect. 429 and 503 say `retry-after: 1` unless told otherwise."""
        if retry_after_s is None and refusal.status in (429, 503) and refusal.code is None:
            retry_after_s = 1
        more = [(b"retry-after", b"%d" % retry_after_s)] if retry_after_s is not None else []
        await self._send(refusal.status, self._dialect.error(refusal), more)

    async def _failed(self, ask: Ask, behaviour: Behaviour) -> bool:
        """Play a fault that leaves no answer. False: the fault comes later, within the answer."""
        match behaviour.fault:
            case "status":
                refusal = Refusal(behaviour.status or 500, code=behaviour.code)
                await self.refuse(refusal, behaviour.retry_after_s)
            case "garbage":
                await self._send(200, _GARBAGE, stream=ask.stream)
            case "empty":
                await self._send(200, b"", stream=ask.stream)
            case "hang":
                if await self._exchange.pause(LONGEST_HANG_S):
                    await self.refuse(Refusal(504))
            case "error" if not ask.stream:
                await self._send(200, self._dialect.error(Refusal(500)))
            case _:
                return False
        return True

    async def _send(
        self, status: int, body: bytes, more: _Headers | None = None, *, stream: bool = False
    ) -> None:
        headers = self._headers(stream=stream)
        headers.append((b"content-length", b"%d" % len(body)))
        await self._exchange.begin(status, headers + more if more else headers)
        await self._exchange.finish(body)

    def _headers(self, *, stream: bool = False) -> _Headers:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8" if stream else b"application/json"),
            (b"x-request-id", self._call.request_id.encode()),
        ]
        if self._turn is not None:
            headers.append((b"x-sandbox-turn", b"%d" % self._turn))
        return headers

    async def _whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> None:
        wait = behaviour.slow_s * answer.completion_tokens
        if wait and not await self._exchange.pause(wait):
            return
        body = self._dialect.whole(ask, answer, self._call.request_id, usage=not behaviour.no_usage)
        self._call.chunks = answer.completion_tokens
        if behaviour.fault == "cut":
            await self._first_part(body, len(body) // 2)
        elif behaviour.split_utf8:
            at = _within_character(body)
            await self._first_part(body, at)
            self._exchange.watch()
            if await self._exchange.pause(_SPLIT_PAUSE_S):
                await self._exchange.finish(body[at:])
        else:
            await self._send(200, body)

    async def _first_part(self, body: bytes, size: int) -> None:
        headers = [*self._headers(), (b"content-length", b"%d" % len(body))]
        await self._exchange.begin(200, headers)
        await self._exchange.write(body[:size])

    async def _stream(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> None:
        exchange, fault = self._exchange, behaviour.fault
        events = self._dialect.events(ask, answer, self._call.request_id, usage=not behaviour.no_usage)
        pieces = answer.pieces
        if fault in ("cut", "error"):
            pieces = pieces[: behaviour.stop_after or 0]
        await exchange.begin(200, self._headers(stream=True))
        if pieces or fault != "error":
            await exchange.write(_framed(events.opening, behaviour))
        if not await self._pieces(events.reasoning, answer.reasoning, behaviour):
            return
        if not await self._pieces(events.content, pieces, behaviour) or fault == "cut":
            return
        last = events.closing(done=not behaviour.no_done)
        if fault == "error":
            last = self._dialect.error_event(Refusal(500))
        await exchange.finish(_framed(last, behaviour))

    async def _pieces(
        self, render: Callable[[str], bytes], pieces: Sequence[str], behaviour: Behaviour
    ) -> bool:
        """Send the chunks. False: the client left."""
        exchange, call = self._exchange, self._call
        slow_s = behaviour.slow_s
        for piece in pieces:
            if slow_s and not await exchange.pause(slow_s):
                return False
            if behaviour.keepalive:
                await exchange.write(_framed(_KEEPALIVE, behaviour))
            event = _framed(render(piece), behaviour)
            if behaviour.split_utf8:
                at = _within_character(event)
                await exchange.write(event[:at])
                await exchange.pause(_SPLIT_PAUSE_S)
                event = event[at:]
            await exchange.write(event)
            if exchange.gone:
                return False
            call.chunks += 1
        return True


def _framed(event: bytes, behaviour: Behaviour) -> bytes:
    # JSON holds no raw line ends, so these are the framing's own.
    return event.replace(b"\n", b"\r\n") if behaviour.crlf else event


def _within_character(data: bytes) -> int:
    """Where to cut so that a character of several bytes is torn apart; in the middle when there is none."""
    return next((at for at, byte in enumerate(data) if 0x80 <= byte < 0xC0), len(data) // 2)
