"""Play a behaviour onto an exchange: answers, delays and faults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from keyrail_sandbox.answer import Answer, compose, stopped
from keyrail_sandbox.ask import Ask, Refusal
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.calls import Call
from keyrail_sandbox.dialect import Dialect, Events
from keyrail_sandbox.exchange import Exchange

LONGEST_HANG_S = 120.0
LEFT_RESET = b"2s"
_GARBAGE = b"\x00\xff\xfe<<< neither JSON nor an event \xc3\x28 }{\n"
_BROKEN_EVENT = b'data: {"broken": [\n\n'
_SPLIT_PAUSE_S = 0.001  # long enough for the two halves to be two reads
_LATE_PAUSE_S = 0.02

_Headers = list[tuple[bytes, bytes]]


class Play:
    """One call being answered. `turn` is its number among the calls of a counting model, else None."""

    def __init__(self, exchange: Exchange, call: Call, dialect: Dialect, turn: int | None = None) -> None:
        self._exchange = exchange
        self._call = call
        self._dialect = dialect
        self._turn = turn
        self._left: int | None = None

    async def answer(self, ask: Ask, behaviour: Behaviour) -> None:
        """Answer as the behaviour says; stop early when the client leaves or is to be cut off."""
        if ask.stream or behaviour.stall_s or behaviour.slow_s or behaviour.fault in ("hang", "stuck"):
            self._exchange.watch()
        if behaviour.stall_s and not await self._exchange.pause(behaviour.stall_s):
            return
        self._left = behaviour.left
        if behaviour.flaky and (self._turn or 0) % behaviour.flaky:
            await self.refuse(Refusal(500))
            return
        if behaviour.kind in self._dialect.within:
            behaviour = replace(behaviour, fault=None, content="refusal")
        if behaviour.fault is not None and await self._failed(ask, behaviour):
            return
        answer = compose(ask, behaviour)
        if behaviour.fault == "empty-stream":
            answer = stopped(answer, 0)
        if ask.stream:
            await self._stream(ask, answer, behaviour)
        else:
            await self._whole(ask, answer, behaviour)

    async def refuse(self, refusal: Refusal) -> None:
        """An error of the dialect."""
        reply = self._dialect.error(refusal)
        await self._send(reply.status, reply.body, reply.headers)

    async def _failed(self, ask: Ask, behaviour: Behaviour) -> bool:
        """Play a fault that leaves no answer. False: the fault comes later, within the answer."""
        match behaviour.fault:
            case "status" | "refuse":
                await self.refuse(
                    Refusal(
                        behaviour.status or 500,
                        behaviour.kind,
                        model=ask.model,
                        retry_after_s=behaviour.retry_after_s,
                        hint=not behaviour.no_hint,
                    )
                )
            case "garble" if not ask.stream:
                await self._send(200, _GARBAGE, ask=ask)
            case "garbage":
                await self._send(200, _GARBAGE, ask=ask)
            case "empty":
                await self._send(200, b"", ask=ask)
            case "hang" | "stuck" if behaviour.fault == "hang" or not ask.stream:
                if await self._exchange.pause(LONGEST_HANG_S):
                    await self.refuse(Refusal(504))
            case "error" if not ask.stream:
                await self._send(200, self._dialect.error(Refusal(500)).body)
            case "mid-stream" if not ask.stream:
                await self.refuse(Refusal(500))
            case "empty-stream" if ask.stream:
                await self._exchange.begin(200, self._headers(ask))
                await self._exchange.finish()
            case _:
                return False
        return True

    async def _send(
        self, status: int, body: bytes, more: Iterable[tuple[bytes, bytes]] = (), *, ask: Ask | None = None
    ) -> None:
        headers = self._headers(ask)
        headers.append((b"content-length", b"%d" % len(body)))
        headers.extend(more)
        await self._exchange.begin(status, headers)
        await self._exchange.finish(body)

    def _headers(self, ask: Ask | None = None) -> _Headers:
        """With the type of a stream when the request asks for one."""
        events = ask is not None and ask.stream and not ask.array
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8" if events else b"application/json"),
            (self._dialect.request_id, self._call.request_id.encode()),
        ]
        if self._left is not None:
            headers.append((b"x-ratelimit-limit-requests", b"100"))
            headers.append((b"x-ratelimit-remaining-requests", b"%d" % self._left))
            headers.append((b"x-ratelimit-reset-requests", LEFT_RESET))
        if self._turn is not None:
            headers.append((b"x-sandbox-turn", b"%d" % self._turn))
        return headers

    async def _whole(self, ask: Ask, answer: Answer, behaviour: Behaviour) -> None:
        wait = behaviour.slow_s * answer.completion_tokens
        if wait and not await self._exchange.pause(wait):
            return
        body = self._dialect.whole(ask, answer, behaviour)
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
        if fault in ("cut", "garble", "stuck", "error", "mid-stream"):
            answer = stopped(answer, behaviour.stop_after or 0)
        assert self._dialect.events is not None  # it read that the request wants a stream
        events = self._dialect.events(ask, answer, behaviour)
        begun = fault != "error" or answer.content_tokens > 0
        await exchange.begin(200, self._headers(ask))
        if begun:
            if events.opening:
                await exchange.write(_framed(events.opening, behaviour))
            if not await self._chunks(events, behaviour) or fault == "cut":
                return
        if fault in ("error", "mid-stream"):
            await exchange.finish(_framed(events.failure(Refusal(500), begun=begun), behaviour))
            return
        if fault == "stuck" and not await exchange.pause(LONGEST_HANG_S):
            return
        if fault == "garble":
            await exchange.write(_framed(_BROKEN_EVENT, behaviour))
        *earlier, last = events.closing()
        for event in earlier:
            await exchange.write(_framed(event, behaviour))
            if not await exchange.pause(_LATE_PAUSE_S):
                return
        await exchange.finish(_framed(last, behaviour))

    async def _chunks(self, events: Events, behaviour: Behaviour) -> bool:
        """Send the content. False: the client left."""
        exchange, call = self._exchange, self._call
        slow_s = behaviour.slow_s
        for chunk in events.chunks():
            if slow_s and not await exchange.pause(slow_s):
                return False
            if behaviour.keepalive:
                await exchange.write(_framed(events.keepalive, behaviour))
            event = _framed(chunk, behaviour)
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
    # JSON holds no raw line ends: these are the framing's own.
    return event.replace(b"\n", b"\r\n") if behaviour.crlf else event


def _within_character(data: bytes) -> int:
    """Where to cut so that a character of several bytes is torn apart; in the middle when there is none."""
    return next((at for at, byte in enumerate(data) if 0x80 <= byte < 0xC0), len(data) // 2)
