"""JSON as the dialects read and write it: strict, and never deeper than any reader downstream can follow."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
MAX_DEPTH = 128
_SHALLOW = 24
_BRACE, _BRACKET = b"{["
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_UNPAIRED = re.compile(rb"\\u[dD][89a-fA-F]")

dump = _encoder.encode


def parse(body: bytes) -> Any:
    """Decode one JSON document. Raises ValueError with a sentence that says what is wrong."""
    if not body:
        raise ValueError("it is empty")
    try:
        value = _decoder.decode(body)
    except UnicodeDecodeError:
        raise ValueError("it is not valid UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise ValueError(_explain(body, str(error))) from None
    # A body can't be deeper than it has opening brackets, so most need no walk.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and deeper_than(value, MAX_DEPTH):
        raise ValueError("it is nested too deeply")
    return value


def parse_or_none(body: bytes) -> Any:
    """The same, but None for what can't be read."""
    try:
        return parse(body)
    except ValueError:
        return None


def reader(decode: Callable[[bytes], T], loosely: Callable[[bytes], T | None]) -> Callable[[bytes], T | None]:
    """What reads a body with `decode`, and with `loosely` when its fields have unexpected types.

    For decoders that look at few fields: they don't see bad UTF-8 in the others.
    """

    def read(body: bytes) -> T | None:
        try:
            if not body.isascii():
                str(body, "utf-8")
            return decode(body)
        except (ValueError, RecursionError):
            return loosely(body)

    return read


def _explain(body: bytes, detail: str) -> str:
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "it begins with a byte order mark"
    if "truncated" in detail and _UNPAIRED.search(body):
        return "it holds an unpaired surrogate escape"
    return detail.removeprefix("JSON is malformed: ")


def deeper_than(value: object, limit: int) -> bool:
    """Whether objects and lists are nested in each other more than `limit` levels deep."""
    layer: list[Any] = [value] if isinstance(value, dict | list) else []
    depth = 0
    while layer:
        depth += 1
        if depth > limit:
            return True
        inner: list[Any] = []
        for container in layer:
            items = container.values() if type(container) is dict else container
            inner += [item for item in items if type(item) is dict or type(item) is list]
        layer = inner
    return False


def small_object(value: dict[str, Any], limit: int) -> dict[str, Any] | None:
    """`value` when it is at most `limit` bytes as JSON and of ordinary depth, else None."""
    try:
        text = dump(value)
    except RecursionError:
        return None
    if len(text) > limit:
        return None
    # As numbers: counting these in bytes is twice as fast.
    brackets = text.count(_BRACE) + text.count(_BRACKET)
    return None if brackets > _SHALLOW and deeper_than(value, _SHALLOW) else value
