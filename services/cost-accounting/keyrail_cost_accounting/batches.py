"""Batches of messages from a JetStream durable, one pull request each.

nats-py's own `fetch` waits for every message in a task of its own, and FastStream's batch subscriber sits on
top of it and drops what it holds when it stops. Here the messages of one pull arrive in one list, and what
was fetched is always handed to the caller.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

GRACE_S = 1.0
"""How long after its expiry a pull request may still be answered before it is given up as lost."""


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

    def __init__(self, nc: Client, stream: str, durable: str) -> None:
        self._nc = nc
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._numbers = itertools.count()
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._held: list[Msg] = []
        self._pull: _Pull | None = None

    async def open(self) -> None:
        """Subscribe to the inbox that pulls are answered on."""
        self._inbox = self._nc.new_inbox()
        self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._arrived)

    async def close(self) -> None:
        """Stop. Call it between two `take`s; what came late is handed back."""
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()
            for msg in self._held:
                await msg.nak()
        self._subscription = None

    async def take(self, most: int, wait_s: float, max_bytes: int) -> list[Msg]:
        """Up to `most` messages, as soon as there are so many or `wait_s` has passed. Raises PullRefused."""
        pull = _Pull(f"{self._inbox}.{next(self._numbers)}", most, asyncio.Event())
        request = {"batch": most, "expires": int(wait_s * 1e9), "max_bytes": max_bytes}
        self._pull = pull
        try:
            await self._nc.publish(self._next, json.dumps(request).encode(), pull.reply)
            async with asyncio.timeout(wait_s + GRACE_S):
                await pull.ended.wait()
        except TimeoutError:
            pass  # disconnected meanwhile; the next pull asks again
        finally:
            self._pull = None
        held, self._held = self._held, []
        if not held and pull.status not in QUIET:
            raise PullRefused(f"status {pull.status}")
        return held

    async def _arrived(self, msg: Msg) -> None:
        pull = self._pull
        status = (msg.headers or {}).get("Status") if not msg.data else None
        if status is None:
            self._held.append(msg)
            if pull is not None:
                pull.room -= 1
                if pull.room == 0:
                    pull.ended.set()
        elif pull is not None and msg.subject == pull.reply and status != "100":
            pull.status = status
            pull.ended.set()
