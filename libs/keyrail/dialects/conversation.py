"""Which conversation a request is a turn of, and what its user asked last. Over bodies that were checked."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final, cast

from keyrail.contracts.slips import Dialect

LOOKED_AT: Final = 1_024
"""Characters of each text that tell conversations apart, besides how long it is."""


def of(system: str, user: str) -> str | None:
    """16 hexadecimal digits that stay the same while a conversation goes on; None where nobody said
    anything.

    Two conversations that begin with the same words are one.
    """
    if not system and not user:
        return None
    begun = f"{len(system)} {len(user)} {system[:LOOKED_AT]}\n{user[:LOOKED_AT]}"
    return blake2b(begun.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def of_messages(system: object, messages: list[dict[str, Any]]) -> str | None:
    """By the first text of the system, which may be a message, and of the user."""
    first = text_of(system)
    for message in messages:
        role = message.get("role")
        if role == "user":
            return of(first, text_of(message.get("content")))
        if not first and role in ("system", "developer"):
            first = text_of(message.get("content"))
    return of(first, "")


def text_of(content: object) -> str:
    """A text, or the first text among parts; empty where there is none."""
    if type(content) is str:
        return content
    if type(content) is list:
        for part in cast("list[object]", content):
            text = cast("dict[str, object]", part).get("text") if type(part) is dict else None
            if type(text) is str:
                return text
    return ""


def asked(dialect: Dialect, body: dict[str, Any]) -> str:
    """The text of the last message of the user, all its parts; empty where there is none."""
    value: object = body.get("input" if dialect == "openai-responses" else "messages")
    if type(value) is str:
        return value
    if type(value) is not list or dialect == "openai-embeddings":
        return ""
    for message in reversed(cast("list[object]", value)):
        if type(message) is dict:
            fields = cast("dict[str, object]", message)
            if fields.get("role") == "user" and (text := _all_of(fields.get("content"))):
                return text
    return ""


def _all_of(content: object) -> str:
    if type(content) is not list:
        return text_of(content)
    parts = cast("list[object]", content)
    return "\n".join(text for part in parts if (text := text_of([part])))
