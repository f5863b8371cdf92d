"""Seals of other makers on their way through this dialect.

A client gives back a `thinking` block's signature and a `redacted_thinking` block's data unchanged. In one of
these a foreign seal travels, marked (keyrail.dialects.canonical.seals), and where it stands says whose it is:

- in a `thinking` block with text: the seal of these thoughts,
- in a `redacted_thinking` block: the seal of the text or call right after it,
- in a `thinking` block without text: the seal of the text right before it, or of thoughts that can't be seen.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast

from keyrail.dialects import json_text
from keyrail.dialects.canonical import seals
from keyrail.dialects.canonical.events import Seal
from keyrail.dialects.canonical.parts import SealKind, Thinking

_MORE = "~"  # what follows is base64 of JSON: a seal together with what its maker wants beside it
_OWN = frozenset({"anthropic", "anthropic-redacted"})


def is_own(kind: SealKind | None) -> bool:
    """Whether Anthropic made the seal."""
    return kind in _OWN


def outward(part: Thinking | Seal) -> str:
    """The seal of thoughts as a client of this dialect keeps it; empty where there is none."""
    seal = part.seal
    kind = part.kind if isinstance(part, Seal) else part.seal_kind
    if not seal and part.raw is None:
        return ""
    if kind is None or kind in _OWN:
        return seal or ""
    if part.id is None and part.raw is None:
        return seals.wrap(kind, seal or "")
    more = json_text.dump({"seal": seal, "id": part.id, "raw": part.raw})
    return seals.wrap(kind, _MORE + base64.b64encode(more).decode())


def inward(text: str) -> tuple[SealKind, str | None, str | None, dict[str, Any] | None] | None:
    """Kind, seal, id and raw of a foreign seal; None when it is Anthropic's own."""
    found = seals.unwrap(text)
    if found is None:
        return None
    kind, seal = found
    if not seal.startswith(_MORE):
        return kind, seal, None, None
    try:
        value = json_text.parse_or_none(base64.b64decode(seal[1:], validate=True))
    except (ValueError, binascii.Error):
        value = None
    if type(value) is not dict:
        return kind, seal, None, None
    more = cast("dict[str, Any]", value)
    inner, id_, raw = more.get("seal"), more.get("id"), more.get("raw")
    return (
        kind,
        inner if type(inner) is str else None,
        id_ if type(id_) is str else None,
        cast("dict[str, Any]", raw) if type(raw) is dict else None,
    )


def is_foreign(block: dict[str, Any]) -> bool:
    """Whether a block holds thoughts that Anthropic did not seal: another's, or nobody's."""
    match block.get("type"):
        case "thinking":
            seal = block.get("signature")
        case "redacted_thinking":
            seal = block.get("data")
        case _:
            return False
    return type(seal) is not str or not seal or seals.unwrap(seal) is not None
