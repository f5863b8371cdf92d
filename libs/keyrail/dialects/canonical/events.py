"""What a stream tells, piece by piece.

The order that readers keep and writers may rely on: `Begin` first; pieces; for each candidate one `End`;
`Counted`
any number of times, each replacing what it repeats; `Done` last. Pieces of one kind that follow each other
belong
together until `Boundary` or a piece of another kind. Pieces of calls name their call by `position`, from 0,
and may
be interleaved.
"""

from __future__ import annotations

from typing import Any

import msgspec

from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.answer import Finish
from keyrail.dialects.canonical.parts import Image, SealKind


class Begin(msgspec.Struct, gc=False):
    """The answer has an identity. `usage` is what is known of the prompt already."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    usage: Usage | None = None


class TextPiece(msgspec.Struct, gc=False):
    """Some of the answer's words. `seal`: a Gemini thought signature on them."""

    text: str
    candidate: int = 0
    logprobs: list[Any] | None = None
    seal: str | None = None


class RefusalPiece(msgspec.Struct, gc=False):
    """Some of a refusal's words."""

    text: str
    candidate: int = 0


class ThinkingPiece(msgspec.Struct, gc=False):
    """Some of the thoughts, or of their summary. `id`: the reasoning item they belong to."""

    text: str
    candidate: int = 0
    id: str | None = None


class Seal(msgspec.Struct, gc=False):
    """What lets the thoughts so far be taken back. `redacted`: there are no thoughts to see, only this."""

    seal: str
    kind: SealKind
    redacted: bool = False
    candidate: int = 0
    id: str | None = None
    raw: dict[str, Any] | None = None


class CallBegin(msgspec.Struct, gc=False):
    """A tool call begins. `arguments`: what is there of them already."""

    position: int
    id: str
    name: str
    arguments: str = ""
    custom: bool = False
    seal: str | None = None
    candidate: int = 0


class ArgumentsPiece(msgspec.Struct, gc=False):
    """More of a call's arguments."""

    position: int
    text: str
    candidate: int = 0


class ImagePiece(msgspec.Struct, gc=False):
    """A whole image that the model made."""

    image: Image
    candidate: int = 0


class CitationPiece(msgspec.Struct, gc=False):
    """A source for the text so far, as its own dialect writes it."""

    value: Any
    candidate: int = 0


class Boundary(msgspec.Struct, gc=False):
    """What was open is complete: a content block or an output item ended."""

    candidate: int = 0


class Ping(msgspec.Struct, gc=False):
    """A sign of life."""


class End(msgspec.Struct, gc=False):
    """A candidate has ended."""

    finish: Finish | None
    stop_sequence: str | None = None
    candidate: int = 0


class Counted(msgspec.Struct, gc=False):
    """Usage, complete as far as it is known."""

    usage: Usage


class Done(msgspec.Struct, gc=False):
    """The stream has ended as its dialect says a whole one does."""


Event = (
    Begin
    | TextPiece
    | RefusalPiece
    | ThinkingPiece
    | Seal
    | CallBegin
    | ArgumentsPiece
    | ImagePiece
    | CitationPiece
    | Boundary
    | Ping
    | End
    | Counted
    | Done
)
