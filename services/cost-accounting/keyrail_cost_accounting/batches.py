"""Batches of messages from a JetStream durable, one pull request each.

nats-py's own `fetch` waits for every message in a task of its own, and FastStream's batch subscriber sits on
top of it and drops what it holds when it stops. Here the messages of one pull arrive in one list, and what
was fetched is always handed to the caller.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from keyrail.bus.client import LeanClient
from keyrail.bus.connection import HEADROOM

GRACE_S = 1.0
"""How long after its expiry a pull request may still be answered before it is given up as lost."""
ANSWER_S = 5.0
"""How long the server may take to say that there is nothing."""

QUIET = frozenset({None, "404", "408"})
"""How a pull without messages ends when all is well: nothing there, or nothing came."""


class PullRefused(Exception):
    """The server does not serve the durable: the set-up step has not run, or JetStream is not there."""


@dataclass(slots=True)
class _Pull:
    """The pull request under way: where its status comes, how many messages it may bring, and its end."""

    reply: str
    room: int
    ended: asyncio.Event
    status: str | None = None


class Batches:
    """A pull consumer bound to a durable that exists."""

    def __init__(self, nc: LeanClient, stream: str, durable: str) -> None:
        self._nc = nc
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._numbers = itertools.count()
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._held: list[Msg] = []
        self._pull: _Pull | None = None

    @property
    def largest(self) -> int:
        """Most bytes that a message to the server may have, beside its headers."""
        return self._nc.max_payload - HEADROOM

    async def open(self) -> None:
        """Subscribe to the inbox that pulls are answered on."""
        self._inbox = self._nc.new_inbox()
        self._subscription = self._nc.listen(f"{self._inbox}.*", self._arrived, pending=1 << 20)

    async def close(self) -> None:
        """Stop. Call it between two `take`s; what came late is handed back."""
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()
            for msg in self._held:
                await msg.nak()
        self._subscription = None

    async def some(self, wait_s: float) -> None:
        """Return once there is a message, which the next `take` brings, or `wait_s` has passed.

        One request, however long it waits. Raises PullRefused.
        """
        if not self._held:
            await self._ask(1, {"expires": int(wait_s * 1e9)}, wait_s + GRACE_S)

    async def take(self, most: int, max_bytes: int) -> list[Msg]:
        """What there is, up to `most` messages. Raises PullRefused."""
        if most > len(self._held):
            room = most - len(self._held)
            await self._ask(room, {"no_wait": True, "max_bytes": max_bytes}, ANSWER_S)
        held, self._held = self._held, []
        return held

    def interrupt(self) -> None:
        """End the pull under way: nobody waits for it any more, or the server has forgotten it."""
        if self._pull is not None:
            self._pull.ended.set()

    def acknowledge(self, messages: Iterable[Msg]) -> None:
        """All in one write: `Msg.ack` would check, format and count each by itself."""
        send = self._nc.send
        for msg in messages:
            send(msg.reply)

    def progress(self, messages: Iterable[Msg]) -> None:
        """Tell the server that these are worked on. Nothing is sent while disconnected, nor kept."""
        if self._nc.is_connected:
            for msg in messages:
                self._nc.send(msg.reply, b"+WPI")

    async def _ask(self, room: int, request: dict[str, object], patience_s: float) -> None:
        pull = _Pull(f"{self._inbox}.{next(self._numbers)}", room, asyncio.Event())
        self._pull = pull
        try:
            self._nc.send(self._next, json.dumps({"batch": room, **request}).encode(), pull.reply)
            async with asyncio.timeout(patience_s):
                await pull.ended.wait()
        except TimeoutError:
            pass  # disconnected meanwhile; the next pull asks again
        finally:
            self._pull = None
        if not self._held and pull.status not in QUIET:
            raise PullRefused(f"status {pull.status}")

    async def _arrived(self, msg: Msg) -> None:
        pull = self._pull
        status = msg.headers.get("Status") if msg.headers is not None and not msg.data else None
        if status is None:
            self._held.append(msg)
            if pull is not None:
                pull.room -= 1
                if pull.room == 0:
                    pull.ended.set()
        elif pull is not None and msg.subject == pull.reply and status != "100":
            pull.status = status
            pull.ended.set()
