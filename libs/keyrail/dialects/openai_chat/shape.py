"""What nearly all events of a stream have in common, learnt from one, so that the others need no decoding.

Pure. A provider's chunks differ in one string, the piece of text; OpenAI pads them with a second one. An
event that has every other byte in common with a decoded one says the same, apart from that text.
"""

from __future__ import annotations

import re
from itertools import takewhile, zip_longest
from typing import NamedTuple

import msgspec

from keyrail.dialects.openai_chat.events import Event, decode

LARGEST = 4_096
"""Bytes of an event that is learnt from; larger ones are rare."""
WINDOW = 16 * 1024

_HOLE = re.compile(rb'"(?:content|reasoning_content|reasoning|arguments)": ?"([^"\\\x00-\x1f]+)"')
_PADDING = re.compile(rb'"obfuscation": ?"([^"\\\x00-\x1f]*)"')
_PLAIN = set(range(0x20, 0x7F)) - {0x22, 0x5C}  # bytes that stand for themselves in a string
_MARKED = bytes(byte if byte in _PLAIN else 0x22 for byte in range(256))
_string = msgspec.json.Decoder(str).decode


class Shape(NamedTuple):
    """An event is `prefix`, text, `middle`, padding, `end`; the blank line belongs to `end`."""

    prefix: bytes
    middle: bytes | None  # None: no padding
    end: bytes
    weight: int  # what an event weighs beside its text: a function's name, say
    model: str | None

    def run(self, data: bytes, start: int, most: int) -> tuple[int, int, int]:
        """Up to `most` events of this shape at `start`: where they end, how many, and their weight."""
        # Splitting at the end that all have in common costs a sixth of looking for each event's borders.
        pieces = data[start : start + WINDOW].split(self.end, most)
        pieces.pop()
        if not pieces:
            return start, 0, 0
        # All begin with the prefix when the least and the greatest do.
        if not (min(pieces).startswith(self.prefix) and max(pieces).startswith(self.prefix)):
            pieces = list(takewhile(lambda piece: piece.startswith(self.prefix), pieces))
        before = len(self.prefix)
        texts = [piece[before:] for piece in pieces]
        paddings: list[bytes] = []
        if self.middle is not None:
            halves = [text.partition(self.middle) for text in texts]
            texts = [text if middle else b"" for text, middle, _ in halves]
            paddings = [padding for _, _, padding in halves]
        if all(texts) and _plain(b"".join(texts + paddings)):
            weight = sum(map(len, texts))
        else:
            lengths = _lengths(texts, paddings)
            weight = sum(lengths)
            del pieces[len(lengths) :]
        events = len(pieces)
        end = start + sum(map(len, pieces)) + events * len(self.end)
        return end, events, weight + events * self.weight

    def alone(self, data: bytes) -> int:
        """The weight of `data`, which begins with the prefix, when it is one plain event; else -1.

        A fifth of what `run` costs: most reads of a stream bring one event.
        """
        if len(data) > LARGEST or not data.endswith(self.end):
            return -1
        text = data[len(self.prefix) : -len(self.end)]
        if self.middle is not None:
            text, middle, padding = text.partition(self.middle)
            if not middle or not _plain(padding):
                return -1
        return len(text) + self.weight if text and _plain(text) else -1


def _plain(inside: bytes) -> bool:
    return 0x22 not in inside.translate(_MARKED)


def _lengths(texts: list[bytes], paddings: list[bytes]) -> list[int]:
    """Characters of each text, up to the first one that is empty or, like its padding, no JSON string."""
    lengths: list[int] = []
    try:
        for text, padding in zip_longest(texts, paddings, fillvalue=b""):
            _string(b'"%b"' % padding)
            length = len(_string(b'"%b"' % text))
            if length == 0:
                break
            lengths.append(length)
    except ValueError:
        pass
    return lengths


def learn(block: bytes, event: Event) -> Shape | None:
    """The shape of an event (`data: ` and JSON in UTF-8, without its blank line), None when it has none.

    Only an event that says nothing but its text has one: no finish, no usage, no error.
    """
    if _weight(event) is None or len(block) > LARGEST:
        return None
    holes = list(_HOLE.finditer(block))
    if len(holes) != 1:
        return None
    start, stop = holes[0].span(1)
    prefix, middle, end = block[:start], None, block[stop:]
    paddings = list(_PADDING.finditer(end))
    if len(paddings) == 1:
        start, stop = paddings[0].span(1)
        middle, end = end[:start], end[stop:]
    # Other strings in these places are read as what they are taken for, which proves the places.
    weights: list[int | None] = []
    for text, pad in ((b"x", b""), (b"some text", b"x"), (b"", b"xyz")):
        try:
            other = decode((prefix + text + (b"" if middle is None else middle + pad) + end)[6:])
        except (ValueError, RecursionError):
            return None
        weights.append(_weight(other))
        if other.model != event.model:
            return None
    one, many, none = weights
    if one is None or many != one + 8 or none not in (None, one - 1):
        return None
    return Shape(prefix, middle, end + b"\n\n", one - 1, event.model)


def _weight(event: Event) -> int | None:
    """What an event weighs that says nothing but its text; None for any other."""
    choices = event.choices
    if not choices or len(choices) != 1 or event.error or event.usage or event.x_groq is not None:
        return None
    choice = choices[0]
    if choice.finish_reason or choice.delta is None:
        return None
    weight = choice.delta.weigh()
    return weight if weight >= 0 else None
