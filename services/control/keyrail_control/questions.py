"""Questions over the bus: to the ledger, and to a worker about a provider key."""

from __future__ import annotations

from typing import Final

from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from keyrail.bus.connection import Bus
from keyrail.contracts import subjects
from keyrail.contracts.ledger import LedgerPage, LedgerQuery
from keyrail.contracts.signals import KeyTest, KeyTested
from keyrail_control.errors import LedgerFailed, Unavailable

LEDGER_S: Final = 10.0
KEY_TEST_S: Final = 20.0


class Questions:
    """Asks. Raises Unavailable when nobody answers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def ledger(self, query: LedgerQuery) -> LedgerPage:
        """A page of the ledger. Raises LedgerFailed too, with the ledger's own words."""
        page = LedgerPage.decode(await self._ask(subjects.LEDGER, query.encode(), LEDGER_S, "the ledger"))
        if page.error is not None:
            raise LedgerFailed(page.error)
        return page

    async def key_test(self, test: KeyTest) -> KeyTested:
        """What a worker says of a key after having tried it."""
        answer = await self._ask(subjects.KEY_TEST, test.encode(), KEY_TEST_S, "a provider-worker")
        return KeyTested.decode(answer)

    async def _ask(self, subject: str, question: bytes, within_s: float, whom: str) -> bytes:
        try:
            return (await self._bus.nc.request(subject, question, timeout=within_s)).data
        except NoRespondersError:
            raise Unavailable(f"{whom} is not there") from None
        except (NatsTimeout, TimeoutError):
            raise Unavailable(f"{whom} did not answer within {within_s:g} s") from None
