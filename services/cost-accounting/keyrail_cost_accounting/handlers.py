"""What this service answers on the bus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from faststream.nats import NatsBroker, NatsMessage
from keyrail.contracts import subjects
from nats.aio.client import Client

Answer = Callable[[bytes], Awaitable[bytes]]


class SharedBroker(NatsBroker):
    """A FastStream broker on a connection that belongs to someone else."""

    def __init__(self, nc: Client) -> None:
        super().__init__(logger=None)
        self._shared = nc

    async def _connect(self) -> Client:
        self.config.connect(self._shared)
        return self._shared

    async def stop(self, exc_type: object = None, exc_val: object = None, exc_tb: object = None) -> None:
        """Stop answering; the connection stays open."""
        self._connection = None
        await super().stop()


def serve_questions(nc: Client, answer: Answer) -> SharedBroker:
    """A broker, not started yet, that answers questions to the ledger: LedgerQuery to LedgerPage."""
    broker = SharedBroker(nc)

    async def raw(message: NatsMessage) -> bytes:
        return message.body

    @broker.subscriber(subjects.LEDGER, queue="cost-accounting", decoder=raw, max_workers=4, title="ledger")
    async def ledger(question: bytes) -> bytes:
        """A question to the ledger; the answer is a page, or says in `error` why there is none."""
        return await answer(question)

    return broker
