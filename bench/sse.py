"""Counting server-sent events in bytes that come in any pieces."""

from __future__ import annotations

_LINE = b"\ndata:"
_OVERLAP = len(_LINE) - 1
_TAIL = 32


class EventCounter:
    """Counts `data:` lines, `[DONE]` included; the result does not depend on where the bytes were cut."""

    __slots__ = ("_tail", "lines")

    def __init__(self) -> None:
        self.lines = 0
        self._tail = b"\n"

    def reset(self) -> None:
        """Begin with a new stream."""
        self.lines = 0
        self._tail = b"\n"

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        tail = self._tail
        # A line that straddles the cut is whole only in these few bytes; no other line fits into them.
        self.lines += (tail[-_OVERLAP:] + piece[:_OVERLAP]).count(_LINE) + piece.count(_LINE)
        self._tail = piece[-_TAIL:] if len(piece) >= _TAIL else (tail + piece)[-_TAIL:]

    @property
    def done(self) -> bool:
        """Whether the last line so far is `data: [DONE]`."""
        return self._tail.rstrip().endswith((b"\ndata: [DONE]", b"\ndata:[DONE]"))

    @property
    def events(self) -> int:
        """Events so far, without `[DONE]`."""
        return self.lines - self.done
