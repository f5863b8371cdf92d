"""Reasoning in the ways that clients and providers carry it beside a message's content.

Seals travel in entries of `reasoning_details` (OpenRouter's shape) that name their maker by `format`, in
LiteLLM's `thinking_blocks`, and a Gemini call's in `extra_content.google.thought_signature`.

What OpenRouter says is kept as a seal of its own kind, whoever the maker behind it is: the seal is the entry
as JSON without its text, so that it can go through any field for signatures and come back whole.
"""

from __future__ import annotations

from typing import Any

from keyrail.dialects import json_text, loose
from keyrail.dialects.canonical import seals
from keyrail.dialects.canonical.parts import SealKind, Thinking

FORMATS: dict[SealKind, str] = {
    "anthropic": "anthropic-claude-v1",
    "anthropic-redacted": "anthropic-claude-v1",
    "gemini": "google-gemini-v1",
    "openai": "openai-responses-v1",
}
_MAKERS: dict[str, SealKind] = {
    "anthropic-claude-v1": "anthropic",
    "google-gemini-v1": "gemini",
    "openai-responses-v1": "openai",
}
_WORDS = ("text", "summary")


def plain(message: dict[str, Any]) -> str:
    """The thoughts as text, in whichever spelling; several spellings say the same."""
    return _text(message.get("reasoning_content")) or _text(message.get("reasoning"))


def _text(value: object) -> str:
    """Text, or the texts of a list of parts."""
    if type(value) is str:
        return value
    return "".join(loose.text(loose.fields(part).get("text")) or "" for part in loose.items(value))


def read(message: dict[str, Any], *, from_provider: bool) -> list[Thinking]:
    """All thoughts of a message: from entries with seals where there are such, else the plain text.

    From a provider, entries are OpenRouter's own business; from a client, their format says whose they are.
    """
    found = _read_details(loose.items(message.get("reasoning_details")), from_provider)
    blocks = _read_blocks(loose.items(message.get("thinking_blocks")))
    if blocks and not any(part.seal for part in found):
        found = blocks
    text = plain(message)
    if text and not any(part.text for part in found):
        if len(found) == 1 and found[0].seal_kind != "anthropic-redacted":
            found[0].text = text
            found[0].redacted = False
        else:
            found.insert(0, Thinking(text))
    return found


def _read_details(entries: list[Any], from_provider: bool) -> list[Thinking]:
    found: list[Thinking] = []
    for value in entries:
        entry = loose.fields(value)
        words, seal = words_of(entry), seal_of(entry)
        if words and (not found or found[-1].seal is not None):
            found.append(Thinking())
        if words:
            found[-1].text += words
        if seal is None:
            continue
        if not found or found[-1].seal is not None:
            found.append(Thinking(redacted=True))
        _seal(found[-1], entry, seal, from_provider)
    return found


def _seal(part: Thinking, entry: dict[str, Any], seal: str, from_provider: bool) -> None:
    maker = None if from_provider else _MAKERS.get(str(entry.get("format")))
    part.id = loose.text(entry.get("id"))
    part.raw = entry
    if maker is None:
        part.seal_kind, part.seal = "openrouter", packed(entry)
    elif maker == "anthropic" and "data" in entry:
        part.seal_kind, part.seal, part.redacted = "anthropic-redacted", seal, True
    else:
        part.seal_kind, part.seal = maker, seal


def words_of(entry: dict[str, Any]) -> str:
    """The readable part of an entry of `reasoning_details`."""
    for name in _WORDS:
        if (text := loose.text(entry.get(name))) is not None:
            return text
    return ""


def seal_of(entry: dict[str, Any]) -> str | None:
    """The signature or the encrypted part of an entry."""
    return loose.text(entry.get("signature")) or loose.text(entry.get("data"))


def packed(entry: dict[str, Any]) -> str:
    """An entry as the seal that stands for it."""
    return json_text.dump({name: value for name, value in entry.items() if name not in _WORDS}).decode()


def _read_blocks(blocks: list[Any]) -> list[Thinking]:
    found: list[Thinking] = []
    for value in blocks:
        block = loose.fields(value)
        if (data := loose.text(block.get("data"))) is not None:
            found.append(Thinking(seal=data, seal_kind="anthropic-redacted", redacted=True))
            continue
        part = Thinking(loose.text(block.get("thinking")) or "")
        if (signature := loose.text(block.get("signature"))) is not None:
            wrapped = seals.unwrap(signature)
            part.seal_kind, part.seal = wrapped or ("anthropic", signature)
        if part.text or part.seal:
            found.append(part)
    return found


def entries(part: Thinking, index: int) -> list[dict[str, Any]]:
    """A thought as entries of `reasoning_details`; none when it has no seal that such an entry can hold."""
    kind, seal = part.seal_kind, part.seal
    if kind is None or seal is None:
        return []
    if kind == "openrouter":
        return _unpacked(part, seal, index)
    if part.raw is not None and seal_of(part.raw) == seal:
        return _with_words(part, dict(part.raw), index)
    return _with_words(part, sealed(kind, seal, index=index, id_=part.id, redacted=part.redacted), index)


def _unpacked(part: Thinking, seal: str, index: int) -> list[dict[str, Any]]:
    entry = loose.fields(json_text.parse_or_none(seal.encode()))
    return _with_words(part, dict(entry), index) if entry else []


def _with_words(part: Thinking, entry: dict[str, Any], index: int) -> list[dict[str, Any]]:
    """The entry with the thought's words in it, or after another that holds them."""
    entry.setdefault("index", index)
    if not part.text:
        return [entry]
    if entry.get("type") == "reasoning.encrypted":
        words: dict[str, Any] = {"type": "reasoning.summary", "summary": part.text}
        return [{**words, "format": entry.get("format"), "index": entry["index"]}, entry]
    return [{**entry, "text": part.text}]


def sealed(
    kind: SealKind, seal: str, *, index: int, id_: str | None = None, redacted: bool = False
) -> dict[str, Any]:
    """The entry that holds a seal alone, with its maker's mark."""
    entry: dict[str, Any]
    if kind in ("openai", "anthropic-redacted") or redacted:
        entry = {"type": "reasoning.encrypted", "data": seal}
    else:
        entry = {"type": "reasoning.text", "signature": seal}
    entry |= {"id": id_} if id_ is not None else {}
    return {**entry, "format": FORMATS.get(kind, "unknown"), "index": index}


def blocks(parts: list[Thinking]) -> list[dict[str, Any]]:
    """LiteLLM's `thinking_blocks`: Anthropic's thoughts as they were."""
    found: list[dict[str, Any]] = []
    for part in parts:
        if part.seal_kind == "anthropic-redacted":
            found.append({"type": "redacted_thinking", "data": part.seal})
        elif part.seal_kind == "anthropic":
            found.append({"type": "thinking", "thinking": part.text, "signature": part.seal})
    return found


def signature_of(holder: dict[str, Any]) -> str | None:
    """A Gemini thought signature beside a call or a message."""
    google = loose.fields(loose.fields(holder.get("extra_content")).get("google"))
    specific = loose.fields(holder.get("provider_specific_fields"))
    return loose.text(google.get("thought_signature")) or loose.text(specific.get("thought_signature"))


def with_signature(holder: dict[str, Any], seal: str | None) -> dict[str, Any]:
    """The same with that signature."""
    if seal is not None:
        holder["extra_content"] = {"google": {"thought_signature": seal}}
    return holder
