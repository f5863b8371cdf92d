"""A subscription whose handler is called by the reader itself."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task  # meant for makers of tasks: see "Extending" in the manual
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, cast

from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

Handler = Callable[[Msg], Awaitable[None]]
OnError = Callable[[Exception], Awaitable[None]]


class DirectSubscription(Subscription):
    """Handlers run one after the other, in order, as with nats-py; but most of them never touch a queue.

    A handler begins where its message was read, on behalf of this subscription's own task, which is idle
    then. If it ends without having waited for anything, that was all. If it waits, the task goes on with it,
    and what comes meanwhile is queued, up to `pending` messages.
    """

    def __init__(self, conn: Any, id: int, subject: str, queue: str, cb: Handler, pending: int) -> None:
        super().__init__(conn, id, subject, queue, cb, pending_msgs_limit=pending)
        self._loop = asyncio.get_running_loop()
        self._handler: Callable[[Msg], Coroutine[Any, Any, None]] = cast("Any", cb)  # `_start` looks
        self._begun: tuple[Coroutine[Any, Any, None], Any] | None = None
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()

    def deliver(self, msg: Msg) -> None:
        """Handle a message now, or once those before it are done."""
        self._received += 1
        if self._begun is not None:
            self._wait_in_line(msg)
            return
        task = self._wait_for_msgs_task
        assert task is not None, "started"
        work = self._handler(msg)
        _enter_task(self._loop, task)
        try:
            awaited = work.send(None)
        except (StopIteration, asyncio.CancelledError):
            return
        except Exception as error:  # noqa: BLE001 - a handler's error must not end the connection
            self._conn.report(error)
            return
        finally:
            _leave_task(self._loop, task)
        self._begun = work, awaited
        self._quiet.clear()
        self._wake.set()

    def _wait_in_line(self, msg: Msg) -> None:
        size = len(msg.data)
        if self._pending_size + size < self._pending_bytes_limit:
            try:
                self._pending_queue.put_nowait(msg)
            except asyncio.QueueFull:
                pass
            else:
                self._pending_size += size
                return
        self._conn.report(
            errors.SlowConsumerError(subject=msg.subject, reply=msg.reply, sid=self._id, sub=self)
        )

    async def _wait_for_msgs(self, error_cb: OnError) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._begun is not None:
                await _guarded(_go_on(*self._begun), error_cb)
            while not self._pending_queue.empty():
                msg = self._pending_queue.get_nowait()
                self._pending_size -= len(msg.data)
                await _guarded(self._handler(msg), error_cb)
            self._begun = None
            self._quiet.set()

    async def _drain(self) -> None:
        try:
            await self._conn._send_unsubscribe(self._id)
            await self._conn.flush()  # all that was on its way is here by then
            await self._quiet.wait()
            self._stop_processing()
            self._conn._remove_sub(self._id)
        finally:
            self._closed = True


async def _guarded(work: Awaitable[None], on_error: OnError) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - reported; the next message is due
        await on_error(error)


@coroutine
def _go_on(work: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """Await the rest of a coroutine that has begun, and waits for `awaited`."""
    while True:
        try:
            answer = yield awaited
        except BaseException as error:  # noqa: BLE001 - a cancellation is the coroutine's to see
            step = work.throw
            argument: Any = error
        else:
            step = work.send
            argument = answer
        try:
            awaited = step(argument)
        except StopIteration:
            return
