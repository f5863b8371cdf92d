"""Seals of other makers inside a reasoning item's `encrypted_content`, and how they get out again.

OpenAI's own stands there as it is. Another's is wrapped, with what it belongs to: the item's own thoughts, or
the call or the text beside the item. A client sends reasoning items back as they came, so the next request
to the seal's maker has it in its place, and nobody else ever sees it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from keyrail.dialects.canonical.parts import SealKind, Thinking
from keyrail.dialects.canonical.seals import unwrap, wrap

Place = Literal["thought", "call", "text", "text-before", "image"]
"""What a seal is on: this item's thoughts, the call named by `call`, the text after or before the item,
or the image after it."""


class Sealed(msgspec.Struct, gc=False, omit_defaults=True):
    """What is wrapped. `seal` empty: there is only the `raw` original."""

    seal: str
    on: Place = "thought"
    call: str | None = None
    redacted: bool = False
    id: str | None = None
    raw: dict[str, Any] | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Sealed).decode


def of_thinking(part: Thinking) -> str | None:
    """The `encrypted_content` of an item with these thoughts; None when nothing seals them."""
    if part.seal_kind is None or part.seal_kind == "openai":
        return part.seal
    if part.seal is None and part.raw is None:
        return None
    sealed = Sealed(part.seal or "", redacted=part.redacted, id=part.id, raw=part.raw)
    return _wrapped(part.seal_kind, sealed)


def on_call(call_id: str, seal: str) -> str:
    """The same for a Gemini signature on a call."""
    return _wrapped("gemini", Sealed(seal, on="call", call=call_id))


def on_part(place: Place, seal: str) -> str:
    """The same for a Gemini signature on a text or an image beside the item."""
    return _wrapped("gemini", Sealed(seal, on=place))


def _wrapped(kind: SealKind, sealed: Sealed) -> str:
    return wrap(kind, _encode(sealed).decode())


def opened(text: str) -> tuple[SealKind, Sealed] | None:
    """Whose seal is wrapped in there and what it is on; None when the text is OpenAI's own."""
    found = unwrap(text)
    if found is None:
        return None
    kind, inner = found
    try:
        return kind, _decode(inner)
    except ValueError:
        return kind, Sealed(inner)


def is_foreign(item: dict[str, Any]) -> bool:
    """Whether this is a reasoning item that its provider could not read: another's, or one without anything
    to read in it, which would have to be stored there."""
    if item.get("type") != "reasoning":
        return False
    sealed = item.get("encrypted_content")
    if type(sealed) is str and sealed:
        return unwrap(sealed) is not None
    return not item.get("content")
