"""What a feature asks and what it hears, whichever face it goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@dataclass(frozen=True)
class Ask:
    """One request. `history` is in the face's own terms; `tools` are names of functions."""

    model: str
    history: list[Any]
    tools: tuple[str, ...] = ()
    think: bool = False
    schema: bool = False
    logprobs: bool = False
    stream: bool = False


@dataclass(frozen=True)
class Call:
    """A call of a tool; its arguments as JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Answer:
    """What the SDK made of an answer. `turn` goes into the history of the next request.

    `usage` is the tokens in, out and cached, None when there was none.
    """

    text: str
    thoughts: str
    calls: list[Call]
    usage: tuple[int, int, int] | None
    finish: str
    turn: list[Any]
    logprobs: list[Any] = field(default_factory=list[Any])


class Interrupted(Exception):
    """A stream that ended with an error which the SDK or the protocol shows, after `text`."""

    def __init__(self, text: str) -> None:
        super().__init__(f"interrupted after {text!r}")
        self.text = text


class Face(Protocol):
    """One of the client's dialects, through its official SDK."""

    def user(self, text: str, *, image: bool = False) -> Any:
        """A user's turn."""
        ...

    def results(self, texts: dict[str, str]) -> list[Any]:
        """The turn that answers calls, by their ids."""
        ...

    async def ask(self, ask: Ask) -> Answer:
        """Raises the SDK's errors, and Interrupted within a stream."""
        ...
