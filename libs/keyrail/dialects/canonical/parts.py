"""What messages and answers are made of.

Whoever writes a dialect handles every kind of part: as it is, as the nearest that means the same, or by
naming it
in what was dropped, or by refusing the request.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SealKind = Literal["anthropic", "anthropic-redacted", "gemini", "openai", "openrouter"]
"""Whose seal (signature, encrypted content) it is; only its maker can open it."""


class Cache(msgspec.Struct, frozen=True, gc=False):
    """A prompt cache ends after the part that carries this. `ttl` as the dialect says it: 5m, 1h; None:
    default."""

    ttl: str | None = None


class Text(msgspec.Struct, gc=False):
    """`seal` is a Gemini thought signature on this part; `citations` are in the answer's own dialect."""

    text: str
    cache: Cache | None = None
    seal: str | None = None
    citations: list[Any] | None = None


class Image(msgspec.Struct, gc=False):
    """Either `data` (base64, with its media type) or `url`. `detail` as OpenAI has it: low, high, auto.

    `seal`: a Gemini thought signature on an image that the model made.
    """

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    detail: str | None = None
    cache: Cache | None = None
    seal: str | None = None


class Document(msgspec.Struct, gc=False):
    """A file for the model to read: one of base64 `data`, `url`, plain `text`, or a provider's `file_id`."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    text: str | None = None
    file_id: str | None = None
    name: str | None = None
    citations: bool = False
    cache: Cache | None = None


class Audio(msgspec.Struct, gc=False):
    """Base64 sound; `format` is a short name such as wav or mp3."""

    data: str
    format: str


class Thinking(msgspec.Struct, gc=False):
    """What the model thought, or a summary of it, with the seal that lets its maker take it back.

    `redacted`: there is only the seal. `id` names a reasoning item of the Responses API. `raw` is the whole
    original where the seal covers more than text (an entry of OpenRouter's reasoning_details).
    """

    text: str = ""
    seal: str | None = None
    seal_kind: SealKind | None = None
    redacted: bool = False
    id: str | None = None
    raw: dict[str, Any] | None = None
    cache: Cache | None = None


class Call(msgspec.Struct, gc=False):
    """The model wants a tool called. `arguments` is JSON as the model wrote it, unparsable at times; empty:
    none.

    `custom`: a tool that takes free text, which is then in `arguments`. `seal`: a Gemini thought signature.
    """

    id: str
    name: str
    arguments: str = ""
    custom: bool = False
    seal: str | None = None
    cache: Cache | None = None


class Result(msgspec.Struct, gc=False):
    """What a tool gave for the call with this id. `name` is the tool's, where the history tells it."""

    call_id: str
    parts: list[Text | Image | Document]
    name: str | None = None
    failed: bool = False
    cache: Cache | None = None


class Refusal(msgspec.Struct, gc=False):
    """The model's words for not answering."""

    text: str


class Foreign(msgspec.Struct, gc=False):
    """A part that exists in one dialect only (a hosted tool's block): `what` names it for messages."""

    what: str
    value: Any = None


Part = Text | Image | Document | Audio | Thinking | Call | Result | Refusal | Foreign
