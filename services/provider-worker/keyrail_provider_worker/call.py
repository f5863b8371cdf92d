"""One upstream call: written, read, and relayed to the client as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from keyrail.bus.reply import CHUNK, Reply
from keyrail.contracts.base import now_ms
from keyrail.contracts.failures import Failure
from keyrail.contracts.frames import CONTENT, Kind
from keyrail.contracts.slips import Slip
from keyrail.contracts.usage import Usage
from keyrail.dialects import counts
from keyrail.dialects.continuing import Recorder
from keyrail.dialects.protocols import Relay
from keyrail.dialects.ways import Way
from keyrail.http.upstream import (
    StaleConnection,
    UnreadableAnswer,
    Upstream,
    UpstreamError,
    UpstreamResponse,
)
from keyrail.telemetry import metrics
from keyrail_provider_worker import redact, render
from keyrail_provider_worker.asking import Prepared
from keyrail_provider_worker.caching.turn import Tape, Turn
from keyrail_provider_worker.deadlines import Deadlines
from keyrail_provider_worker.settle import Course

KEEP_ALIVE_S = 15.0
"""A stream without content gets its head after this long, and comments from then on."""
KEEP_ALIVE = b": keep-alive\n\n"
ERROR_BODY = 1 << 20
REQUEST_ID_HEADERS = (b"x-request-id", b"request-id", b"inference-id", b"mistral-correlation-id")

Heard = Callable[[Mapping[bytes, bytes]], None]
"""Told the headers of each answer, by names in lower case."""


class Call:
    """Runs once. `content_sent` and `head_sent` say what the client already has."""

    def __init__(self, slip: Slip, reply: Reply, course: Course, deadlines: Deadlines, heard: Heard) -> None:
        self.slip = slip
        self.course = course
        self.head_sent = slip.head_sent
        self.content_sent = slip.role == "continue"  # by the attempt before
        self.answer: bytes | None = None  # a whole answer, not yet sent: its head needs the price
        self.turn: Turn | None = None  # where the answer may be one of the cache's
        self._reply = reply
        self._deadlines = deadlines
        self._heard = heard
        self._provider = slip.target.provider
        self._relay: Relay | None = None
        self._dropped: tuple[str, ...] = ()
        self._began = 0.0
        self._task: asyncio.Task[object] | None = None  # of a stream whose first content has a deadline
        self._too_late = False
        self._waiting: list[bytes] = []
        self._side: set[asyncio.Task[None]] = set()

    async def run(self, upstream: Upstream, prepared: Prepared) -> Failure | None:
        """None: the whole answer came. `course` is as far as it got.

        Raises CancelledError, BusError, and NotWritten when the slip was handed on meanwhile.
        """
        self._began = time.monotonic()
        self._dropped = prepared.dropped
        left_ms = self.slip.deadline_ms - now_ms()
        if left_ms <= 0:
            return self._timed_out("total")
        if self.slip.facts.stream:
            self._expect_content()
        try:
            failure = await self._exchange(upstream, prepared, self._began + left_ms / 1000)
            return redact.failure(failure, prepared.secret) if failure and prepared.secret else failure
        except UpstreamError as error:
            self.course.written = error.written
            return self._broken(error)
        except asyncio.CancelledError:
            if self._too_late and self._task is not None and self._task.uncancel() == 0:
                return self._timed_out("first_token")
            raise
        finally:
            self._quiet()
            self._account()

    def _expect_content(self) -> None:
        assert self.slip.plan is not None
        self._deadlines.set(self, self._began + KEEP_ALIVE_S, self._on_keep_alive)
        first_token_s = self.slip.plan.timeouts.first_token_s
        if first_token_s is not None:
            self._task = asyncio.current_task()
            self._deadlines.set((self, "first token"), self._began + first_token_s, self._on_first_token)

    def _quiet(self) -> None:
        """There is content, or the end: no keep-alive, and nobody waits for the first token."""
        self._deadlines.drop(self)
        if self._task is not None:
            self._deadlines.drop((self, "first token"))

    def _on_first_token(self) -> None:
        assert self._task is not None
        self._too_late = True
        self._task.cancel()

    async def _exchange(self, upstream: Upstream, prepared: Prepared, deadline: float) -> Failure | None:
        assert self.slip.plan is not None
        response = await upstream.post(
            prepared.endpoint,
            prepared.headers,
            prepared.body,
            timeouts=self.slip.plan.timeouts,
            deadline=deadline,
            may_write=self._may_write,
        )
        try:
            self._on_head(response, prepared.secret)
            if response.status != 200:
                return await self._refused(response, prepared.way)
            streams = "text/event-stream" in response.headers.get("content-type", "")
            relay = prepared.relay() if self.slip.facts.stream and streams else None
            if relay is not None:
                return await self._stream(response, relay, prepared.recorder)
            return await self._whole(response, prepared.way)
        finally:
            response.leave()

    async def _refused(self, response: UpstreamResponse, way: Way) -> Failure:
        try:
            body = await response.read(ERROR_BODY)
        except UnreadableAnswer:
            body = b""  # too much to be an error's words: the status says enough
        return way.classify(response.status, response.headers, body)

    def _may_write(self) -> bool:
        """Whether the slip is still this worker's own: see TAKE_BY_MS."""
        self.course.written = now_ms() < self.slip.take_by_ms
        return self.course.written

    def _on_head(self, response: UpstreamResponse, secret: str | None) -> None:
        self.course.http_status = response.status
        elapsed_ms = self.course.first_byte_ms = self._elapsed_ms()
        upstream_id = response.headers.first(REQUEST_ID_HEADERS)
        if upstream_id is not None:
            self.course.upstream_id = redact.text(upstream_id[:128], secret or "")
        self._heard(response.headers.fields)
        metrics.histogram(metrics.FIRST_BYTE_SECONDS, self._provider).observe(elapsed_ms / 1000)

    async def _whole(self, response: UpstreamResponse, way: Way) -> Failure | None:
        body = await response.read()
        read = way.answer(body)
        if isinstance(read, Failure):
            return read
        if self.slip.facts.stream:
            return _garbage(self._provider, "a stream was asked for and none came")
        self.course.usage = read.usage
        self.course.finish = read.finish
        self.course.first_content_ms = self._elapsed_ms()
        if (tape := self._tape) is not None:
            tape.add(body)
        self.answer = read.body
        return None

    async def _stream(
        self, response: UpstreamResponse, relay: Relay, recorder: Recorder | None
    ) -> Failure | None:
        self._relay = relay
        tape = self._tape
        while part := await response.chunk():
            if tape is not None:
                tape.add(part)
            out = relay.feed(part)
            if recorder is not None:
                recorder.feed(part)
            if relay.failure is not None:
                await self._pass(out, flush=relay.content)
                return relay.failure
            await self._pass(out, flush=relay.content or relay.done)
            if relay.done:
                response.complete = True
                return None
        out = relay.end()
        await self._pass(out, flush=relay.content or relay.done)
        return relay.failure

    async def _pass(self, out: bytes, *, flush: bool) -> None:
        """Hold everything back until there is content, then send one frame for each upstream read."""
        if not flush:
            if out:
                self._waiting.append(out)
            return
        if self._waiting:
            out = b"".join((*self._waiting, out))
            self._waiting.clear()
        if not out:
            return
        if self.course.first_content_ms is None:
            self.course.first_content_ms = self._elapsed_ms()
            self._quiet()
        self._send_head()
        self.content_sent = True
        relay = self._relay
        flags = 0 if relay is not None and not relay.content else CONTENT  # a whole answer may be empty
        if relay is not None and relay.done and len(out) <= CHUNK:
            self._reply.hold(Kind.DATA, out, flags)  # leaves together with the end
        else:
            await self._reply.send(Kind.DATA, out, flags)

    def _send_head(self) -> None:
        if not self.head_sent:
            self.head_sent = True
            more = self.turn.headers if self.turn is not None else ()
            self._reply.hold(Kind.HEAD, render.head(self.slip, self._dropped, more=more))

    def _on_keep_alive(self) -> None:
        """Nothing yet: send the head and a comment, so that nobody on the way gives the connection up."""
        self._send_head()
        task = asyncio.ensure_future(self._reply.send(Kind.DATA, KEEP_ALIVE))
        self._side.add(task)
        task.add_done_callback(self._side.discard)
        self._deadlines.set(self, time.monotonic() + KEEP_ALIVE_S, self._on_keep_alive)

    @property
    def _tape(self) -> Tape | None:
        return self.turn.tape if self.turn is not None else None

    def _account(self) -> None:
        """Take over what the stream said of its usage; estimate it when it said nothing."""
        relay = self._relay
        if relay is None:
            return
        self.course.finish = relay.finish
        usage = relay.usage
        if usage is not None and (relay.done or relay.finish is not None):
            self.course.usage = usage
        elif relay.content or usage is not None:
            self.course.usage = self._guess(relay, usage or Usage())

    def _guess(self, relay: Relay, begun: Usage) -> Usage:
        """For a stream that broke off. Its beginning may have counted the prompt; the answer it can not."""
        guess = counts.estimate_usage(self.slip.facts.input_tokens_estimate, relay.output_chars, relay.events)
        input_tokens = guess.input_tokens if begun.input_tokens is None else begun.input_tokens
        output_tokens = max(guess.output_tokens or 0, begun.output_tokens or 0)
        return begun.replace(input_tokens=input_tokens, output_tokens=output_tokens, estimated=True)

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._began) * 1000)

    def _broken(self, error: UpstreamError) -> Failure:
        if error.timeout is not None:
            return self._timed_out(error.timeout)
        if isinstance(error, UnreadableAnswer):
            return _garbage(self._provider, str(error))
        streaming = self.course.http_status is not None
        code = "connection_stale" if isinstance(error, StaleConnection) else "connection_failed"
        return Failure(
            kind="truncated" if streaming else "connection",
            message=f"The connection to {self._provider} broke: {error}.",
            status=502,
            provider=self._provider,
            code="answer_truncated" if streaming else code,
        )

    def _timed_out(self, phase: str) -> Failure:
        return Failure(
            kind="timeout",
            message=f"{self._provider} did not answer in time ({phase.replace('_', ' ')}).",
            status=504,
            provider=self._provider,
            code=f"timeout_{phase}",
        )


def _garbage(provider: str, what: str) -> Failure:
    message = f"The answer of {provider} could not be read: {what}."
    return Failure(kind="garbage", message=message, status=502, provider=provider, code="bad_answer")
