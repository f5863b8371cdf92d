"""A provider's quirks in chat messages."""

from __future__ import annotations

import hashlib
from string import ascii_letters, digits
from typing import Any, cast, get_args

from keyrail.contracts.quirks import Quirks, Thoughts

_ALPHABET = digits + ascii_letters
_ID = 9
_HARMLESS = frozenset({"refusal"})
"""Fields of messages whose absence nobody needs to hear of: the model's own words about its words."""
_THOUGHTS = frozenset(get_args(Thoughts))


def touches_messages(quirks: Quirks) -> bool:
    """Whether messages have to be looked at."""
    return bool(
        quirks.drop_message_nulls
        or quirks.drop_in_messages
        or quirks.roles
        or quirks.text_results
        or quirks.short_call_ids
    )


def messages(given: list[Any], quirks: Quirks) -> tuple[list[Any], list[str]]:
    """The messages as the provider takes them, and what went missing, as `messages[2].name`."""
    dropped: list[str] = []
    return [_message(index, message, quirks, dropped) for index, message in enumerate(given)], dropped


def _message(index: int, message: Any, quirks: Quirks, dropped: list[str]) -> Any:
    if type(message) is not dict:
        return message
    fields = cast("dict[str, Any]", message)
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None and quirks.drop_message_nulls and name != "content":
            continue
        # The name of a tool is part of its result, that of a person a courtesy.
        if name in quirks.drop_in_messages and not (name == "name" and fields.get("role") == "tool"):
            if name in _THOUGHTS and quirks.thoughts is not None:
                if value and not fields.get(quirks.thoughts):  # else they go along in the provider's spelling
                    found[quirks.thoughts] = value
            elif value not in (None, "") and name not in _HARMLESS:
                dropped.append(f"messages[{index}].{name}")
            continue
        found[name] = value
    role = found.get("role")
    if type(role) is str and role in quirks.roles:
        found["role"] = quirks.roles[role]
    if quirks.text_results and role == "tool":
        found["content"] = _text(found.get("content"))
    if quirks.short_call_ids:
        _shorten(found)
    return found


def _text(content: Any) -> Any:
    """Parts of text as one string; anything else as it is, for the provider to judge."""
    if type(content) is not list:
        return content
    texts = [part.get("text") if type(part) is dict else None for part in cast("list[Any]", content)]
    return "".join(cast("list[str]", texts)) if all(type(text) is str for text in texts) else content


def _shorten(message: dict[str, Any]) -> None:
    answered = message.get("tool_call_id")
    if type(answered) is str:
        message["tool_call_id"] = short_id(answered)
    calls = message.get("tool_calls")
    if type(calls) is list:
        message["tool_calls"] = [
            {**call, "id": short_id(call["id"])}
            if type(call) is dict and type(call.get("id")) is str
            else call
            for call in cast("list[Any]", calls)
        ]


def short_id(call_id: str) -> str:
    """Nine letters and digits that stand for this id wherever it occurs; such an id stands for itself."""
    if len(call_id) == _ID and call_id.isascii() and call_id.isalnum():
        return call_id
    number = int.from_bytes(hashlib.blake2b(call_id.encode(), digest_size=8).digest())
    text = ""
    for _ in range(_ID):
        number, place = divmod(number, len(_ALPHABET))
        text += _ALPHABET[place]
    return text
