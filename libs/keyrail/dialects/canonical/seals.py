"""Seals on their way through a dialect that is not their maker's.

A client gives back unchanged what its own dialect calls a signature or encrypted content. A foreign seal
travels in
such a field with a mark in front, and only who knows the mark takes it out again: a provider never sees
another's.
"""

from __future__ import annotations

from typing import cast, get_args

from keyrail.dialects.canonical.parts import SealKind

_MARK = "krs1"
_KINDS: frozenset[str] = frozenset(get_args(SealKind))


def wrap(kind: SealKind, seal: str) -> str:
    """The seal with its kind in front."""
    return f"{_MARK}.{kind}.{seal}"


def unwrap(text: str) -> tuple[SealKind, str] | None:
    """Kind and seal; None when the text is no wrapped seal, but somebody's own."""
    mark, _, rest = text.partition(".")
    kind, dot, seal = rest.partition(".")
    if mark != _MARK or not dot or kind not in _KINDS:
        return None
    return cast("SealKind", kind), seal
