"""nats-py's client with a cheaper way in and out."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from nats import errors
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg
from nats.protocol import command

from keyrail.bus import protocol
from keyrail.bus.subscription import DirectSubscription, Handler
from keyrail.bus.wire import Wire

_UP = frozenset({Client.CONNECTED, Client.DRAINING_SUBS, Client.DRAINING_PUBS})
RELIEF_S = 10.0
"""How long a publisher waits for a server that does not read."""


class LeanClient(Client):
    """Same protocol, reconnection, limits and draining. What differs is the work for each message:

    - what arrives is parsed and, for `listen`, handled in the call that read it: nats-py wakes a task for the
      socket and one for the subscription;
    - what is published leaves at the end of the turn of the event loop, all in one write: nats-py wakes a
      third task for that. Writing at once would be twice as many system calls at load.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ps = self._reader = protocol.Reader(self._on_message, self._on_control)
        self._wire: Wire | None = None
        self._lane: deque[Callable[[], Awaitable[Any]]] = deque()
        self._lane_task: asyncio.Task[None] | None = None
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop  # once connected; asking for it is a system call each time

    def listen(self, subject: str, handler: Handler, *, queue: str = "", pending: int) -> DirectSubscription:
        """Subscribe with a handler that the reader calls."""
        if self.is_closed:
            raise errors.ConnectionClosedError
        if self.is_draining:
            raise errors.ConnectionDrainingError
        _check(subject)
        self._sid += 1
        subscription = DirectSubscription(self, self._sid, subject, queue, handler, pending)
        subscription._start(self._error_cb)
        self._subs[self._sid] = subscription
        self._write(command.sub_cmd(subject, queue, self._sid))
        return subscription

    def send(self, subject: str, payload: bytes = b"", reply: str = "", headers: bytes = b"") -> None:
        """Publish; `headers` is a whole header block. Raises what nats-py's `publish` raises."""
        _check(subject)
        if reply:
            _check(reply)
        size = len(payload)
        if self._status != Client.CONNECTED:
            self._check_status(size)
        if size > self._max_payload:
            raise errors.MaxPayloadError
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += size
        if headers:
            line = f"HPUB {subject} {reply} {len(headers)} {len(headers) + size}\r\n".encode()
            self._write(b"%b%b%b\r\n" % (line, headers, payload))
        else:
            self._write(b"%b%b\r\n" % (f"PUB {subject} {reply} {size}\r\n".encode(), payload))

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """As nats-py's."""
        if headers is None:
            self.send(subject, payload, reply)
        else:
            await super().publish(subject, payload, reply, headers)

    async def relief(self) -> None:
        """Return once not too much waits to be sent."""
        if self._pending_data_size > self._max_pending_size and self._wire is not None and self.is_connected:
            async with asyncio.timeout(RELIEF_S):
                await self._wire.drain()

    def report(self, error: Exception) -> None:
        """Tell the error callback."""
        self._later(partial(self._error_cb, error))

    def _check_status(self, size: int) -> None:
        if self.is_closed:
            raise errors.ConnectionClosedError
        if self.is_draining_pubs:
            raise errors.ConnectionDrainingError
        if not self.is_connected and size + self._pending_data_size > self._max_pending_size:
            raise errors.OutboundBufferLimitError

    # what nats-py calls

    async def _connect_to_server(self, s: Srv) -> None:
        s.last_attempt = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._wire = self._transport = Wire(self._flush_now)
        await self._wire.connect(s.uri, 0, self.options["connect_timeout"])

    async def _read_loop(self) -> None:
        assert self._wire is not None
        try:
            await self._wire.read_into(self._reader.feed)
            error: Exception = errors.UnexpectedEOF()
            await self._error_cb(error)
        except (OSError, errors.ProtocolError) as broken:
            error = broken
        await self._process_op_err(error)

    async def _flusher(self) -> None:
        await asyncio.Event().wait()  # nothing to do: nats-py only wants to see that it lives

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:
        self._write(cmd)
        await self.relief()

    async def _flush_pending(self, force_flush: bool = False) -> None:
        self._flush_now()

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(future or self._loop.create_future())
        self._write(b"PING\r\n")

    # out

    def _write(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_data_size += len(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._scheduled = False
        if self._pending and self._wire is not None and not self._wire.full and self._status in _UP:
            pending, self._pending = self._pending, []
            self._pending_data_size = 0
            self._wire.writelines(pending)

    # in

    def _on_message(self, sid: int, subject: bytes, reply: bytes, data: bytes, block: bytes) -> None:
        subscription = self._subs.get(sid)
        if type(subscription) is DirectSubscription:
            self.stats["in_msgs"] += 1
            self.stats["in_bytes"] += len(data)
            head = protocol.headers(block) if block else None
            subscription.deliver(Msg(self, subject.decode(), reply.decode(), data, head, None, False, sid))
        elif subscription is not None:
            self._later(partial(self._process_msg, sid, subject, reply, data, block))

    def _on_control(self, line: bytes) -> None:
        kind = line[:4].upper()
        if kind == b"PING":
            self._write(b"PONG\r\n")
        elif kind == b"PONG" and self._lane:
            self._later(self._process_pong)  # says that all before it was handled
        elif kind == b"PONG":
            self._pong()
        elif kind == b"INFO":
            self._later(partial(self._process_info, json.loads(line[4:])))
        elif kind == b"-ERR":
            self._later(partial(self._process_err, line[4:].strip().decode("utf-8", "replace").lower()))
        elif kind[:3] != b"+OK":
            raise errors.ProtocolError

    async def _process_pong(self) -> None:
        self._pong()

    def _pong(self) -> None:
        if self._pongs:
            future = self._pongs.pop(0)
            if not future.done():
                future.set_result(True)
            self._pongs_received += 1
            self._pings_outstanding = 0

    def _later(self, work: Callable[[], Awaitable[Any]]) -> None:
        """For what is not on the hot path: nats-py's own coroutines, one after the other, in order."""
        self._lane.append(work)
        if self._lane_task is None or self._lane_task.done():
            self._lane_task = self._loop.create_task(self._run_lane())

    async def _run_lane(self) -> None:
        while self._lane:
            try:
                await self._lane[0]()
            except Exception as error:  # noqa: BLE001 - as nats-py does with what its callbacks raise
                await self._error_cb(error)
            finally:
                self._lane.popleft()


def _check(subject: str) -> None:
    if not subject or " " in subject or not subject.isprintable():  # else it could smuggle in a command
        raise errors.BadSubjectError
