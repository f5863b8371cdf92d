"""A stream on its way to a client of the same dialect."""

from __future__ import annotations

from keyrail.contracts.slips import Facts
from keyrail.dialects.openai_chat.stream import StreamReader


class Passing(StreamReader):
    """Passes events on as they are, watching them."""

    __slots__ = ()

    def end(self) -> bytes:
        """The body has ended. Afterwards it is done, or there is a failure; there are no bytes left."""
        self.failure = self.finish_failure()
        return b""


def passing(provider: str, facts: Facts) -> Passing:
    """What passes a stream on, without the usage that the client did not ask for."""
    return Passing(provider, include_usage=facts.include_usage)
