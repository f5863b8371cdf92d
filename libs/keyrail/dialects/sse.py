"""Server-sent events out of bytes that are cut anywhere."""

from __future__ import annotations

import re

MAX_EVENT = 4 << 20
"""Bytes of one event; a longer one is an error. A whole image can be in one."""

_BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
_LINES = re.compile(rb"\r\n|\n|\r")
_CR, _LF = b"\r\n"  # as numbers: looking for these in bytes is several times as fast
_BOM = b"\xef\xbb\xbf"


class TooLong(ValueError):
    """An event has more than MAX_EVENT bytes."""


class Splitter:
    """Feed it bytes, get (event name, data) pairs; comments and empty events go missing.

    Data of several lines is joined by newlines. A line that begins with `{` is data without its `data:`, and
    so is what follows it up to the next field or blank line. The name is empty where none was sent. Between
    two feeds it holds at most one unfinished event.
    """

    __slots__ = ("_pieces", "_size", "_started")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The events that these bytes complete. Raises TooLong."""
        if self._started and not self._size and (alone := _alone(data)) is not None:
            return [alone]
        if self._size:
            self._pieces.append(data)
            self._size += len(data)
            if _LF not in data and _CR not in data:
                if self._size > MAX_EVENT:
                    raise TooLong
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        blocks = _split(data)
        rest = blocks.pop()
        self._size = len(rest)
        if rest:
            if self._size > MAX_EVENT:
                raise TooLong
            self._pieces.append(rest)
        return self._read(blocks)

    def finish(self) -> list[tuple[bytes, bytes]]:
        """The event that the end of the body completes, where its blank line is missing."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return self._read([rest]) if rest else []

    def _read(self, blocks: list[bytes]) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        if blocks and not self._started:
            self._started = True
            blocks[0] = blocks[0].removeprefix(_BOM)
        for block in blocks:
            if block[:6] == b"data: " and _LF not in block and _CR not in block:
                found.append((b"", block[6:]))
            elif (event := read(block)) is not None:
                found.append(event)
        return found


def _alone(data: bytes) -> tuple[bytes, bytes] | None:
    """The event in a read that is nothing else and of a usual form, as most reads are."""
    size = len(data)
    if data[:6] == b"data: ":
        first = data.find(b"\n")
        if first == size - 2:
            return (b"", data[6:-2]) if data[-1] == _LF and _CR not in data else None
        if first == size - 3 and data[-4:] == b"\r\n\r\n" and data.find(b"\r") == size - 4:
            return b"", data[6:-4]
    elif data[:7] == b"event: " and data[-2:] == b"\n\n" and _CR not in data:
        end = data.find(b"\n")
        if data[end + 1 : end + 7] == b"data: " and data.find(b"\n", end + 1) == size - 2:
            return data[7:end].strip(), data[end + 7 : -2]
    return None


def _split(data: bytes) -> list[bytes]:
    """What blank lines part. A search for each kind of them costs several times as much as for one."""
    if _CR not in data:
        return data.split(b"\n\n")
    if data.count(b"\r\n") == data.count(b"\r") == data.count(b"\n"):
        return data.split(b"\r\n\r\n")
    return _BLANK.split(data)


def read(block: bytes) -> tuple[bytes, bytes] | None:
    """Name and data of the event in the lines between two blank ones; None where there is no data."""
    # Nearly all events are one of these two forms, and the general way costs several times as much.
    if _CR not in block:
        if block.startswith(b"event: "):
            end = block.find(b"\n")
            if block.startswith(b"data: ", end + 1) and block.find(b"\n", end + 1) < 0:
                return block[7:end].strip(), block[end + 7 :]
        elif block.startswith(b"data: ") and _LF not in block:
            return b"", block[6:]
    return _read_lines(block)


def _read_lines(block: bytes) -> tuple[bytes, bytes] | None:
    name = b""
    data: list[bytes] = []
    bare = False
    for line in _LINES.split(block):
        field, colon, value = line.partition(b":")
        if line[:1] == b"{":
            bare = True
            data.append(line)
        elif field == b"data":
            bare = False
            data.append(value[1:] if value[:1] == b" " else value)
        elif field == b"event" and colon:
            bare = False
            name = value.strip()
        elif bare:
            data.append(line)
    return (name, b"\n".join(data)) if data else None


def event(data: bytes, name: bytes = b"") -> bytes:
    """One event as bytes; `data` is one line."""
    if name:
        return b"event: " + name + b"\ndata: " + data + b"\n\n"
    return b"data: " + data + b"\n\n"
