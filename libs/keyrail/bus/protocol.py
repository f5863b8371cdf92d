"""NATS' wire protocol, read without regular expressions and without a coroutine for each message. Pure."""

from __future__ import annotations

from collections.abc import Callable

from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

LONGEST_LINE = 64 * 1024
"""A line of control that has not ended by then is no NATS."""
STATUS_LINE = len(b"NATS/1.0")

OnMessage = Callable[[int, bytes, bytes, bytes, bytes], None]
OnControl = Callable[[bytes], None]


class Reader(Parser):
    """Cuts what a socket gives into messages and lines of control. It stands in for nats-py's own parser.

    `on_message` gets subscription id, subject, reply subject, payload and header block (both may be empty).
    """

    def __init__(self, on_message: OnMessage, on_control: OnControl) -> None:
        self._on_message = on_message
        self._on_control = on_control
        super().__init__()

    def reset(self) -> None:
        """Forget what has come of a message that is not complete."""
        super().reset()
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0

    def feed(self, data: bytes) -> None:
        """Read what came. Raises ProtocolError."""
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return  # the pieces of a large message are joined once
            data = b"".join(self._parts)
            self._parts.clear()
        at, end = 0, len(data)
        while at < end:
            stop = data.find(b"\r\n", at)
            if stop < 0:
                if end - at > LONGEST_LINE:
                    raise ProtocolError
                self._keep(data[at:], 0)
                return
            if data.startswith((b"MSG ", b"HMSG "), at):
                following = self._message(data, at, stop, end)
                if following > end:
                    self._keep(data[at:], following - at)
                    return
                at = following
            else:
                self._on_control(data[at:stop])
                at = stop + 2

    def _keep(self, rest: bytes, need: int) -> None:
        self._parts.append(rest)
        self._have = len(rest)
        self._need = need

    def _message(self, data: bytes, at: int, stop: int, end: int) -> int:
        """Hand on the message that begins `at`, if it is all there. Returns where the next one begins."""
        fields = data[at:stop].split()
        try:
            sid = int(fields[2])
            first = stop + 2
            last = first + int(fields[-1])
            headed = fields[0] == b"HMSG"
            split = first + (int(fields[-2]) if headed else 0)
            without_reply = 5 if headed else 4
        except (ValueError, IndexError) as error:
            raise ProtocolError from error
        if not without_reply <= len(fields) <= without_reply + 1 or split > last:
            raise ProtocolError
        reply = fields[3] if len(fields) > without_reply else b""
        if last + 2 <= end:
            self._on_message(sid, fields[1], reply, data[split:last], data[first:split])
        return last + 2


def headers(block: bytes) -> dict[str, str] | None:
    """The headers of a message; a status in the first line is `Status` and `Description`, as in nats-py."""
    if not block:
        return None
    first, _, rest = block.partition(b"\r\n")
    found: dict[str, str] = {}
    status, _, description = first[STATUS_LINE:].strip().partition(b" ")
    if status.isdigit():
        found["Status"] = status.decode()
        if description:
            found["Description"] = description.decode("utf-8", "replace")
    found |= Client._parse_header_lines(rest)  # pyright: ignore[reportPrivateUsage]
    return found or None
