"""What a wire format has to offer: one package per dialect, with a `Dialect` for each of its paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from keyrail_sandbox.answer import Answer
from keyrail_sandbox.ask import Ask, Came, Kind, Refusal, Reply
from keyrail_sandbox.behaviour import Behaviour


class Events(Protocol):
    """The events of one streamed answer, each as the bytes of one write."""

    opening: bytes
    keepalive: bytes

    def chunks(self) -> Iterator[bytes]:
        """The content, an item for each piece of it."""
        ...

    def closing(self) -> Sequence[bytes]:
        """All that follows the content; several items when there is time between them."""
        ...

    def failure(self, refusal: Refusal, *, begun: bool) -> bytes:
        """An error in place of the rest; `begun`: the opening was sent."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one path reads and writes. Pure: bytes to values and back.

    `whole` is the body of an answer that is not streamed. `events` is None where nothing is streamed.
    `request_id` names the header that carries the call's id. `within` are the kinds of errors that are no
    errors here, but refusals within an answer.
    """

    read: Callable[[bytes, Came], Ask | Refusal]
    error: Callable[[Refusal], Reply]
    whole: Callable[[Ask, Answer, Behaviour], bytes]
    events: Callable[[Ask, Answer, Behaviour], Events] | None = None
    request_id: bytes = b"x-request-id"
    within: frozenset[Kind] = frozenset()


def unknown_fields(names: tuple[str, ...], behaviour: Behaviour | None) -> Refusal | None:
    """The refusal of a provider that takes only fields it knows."""
    if not names or behaviour is None or not behaviour.strict:
        return None
    return Refusal(422 if behaviour.detailed else 400, extra=names[0], detailed=behaviour.detailed)
