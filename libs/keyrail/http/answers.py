"""The heads of HTTP answers as bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CONTROLS = bytes({*range(0x20), 0x7F} - {0x09})
_OURS = frozenset({"connection", "transfer-encoding"})
_MOST_NAMES = 512
_names: set[str] = set()  # that were found to be well formed


def head(
    status: int, headers: Iterable[tuple[str, str]], *, close: bool, chunk: bool
) -> tuple[bytes, int | None]:
    """Status line and headers, and the `content-length` among them.

    With `chunk` the body is said to come in chunks unless there is such a length. Raises ValueError for what
    would be more than one header, and for names that say how the message is framed. Names are lower case.
    What Latin-1 has no letter for becomes a question mark.
    """
    length = None
    lines = [_status_line(status)]
    for name, value in headers:
        if name not in _names:
            _check(name)
        lines.append(f"{name}: {value}\r\n")
        if name == "content-length":
            length = int(value)
    if close:
        lines.append("connection: close\r\n")
    if chunk and length is None:
        lines.append("transfer-encoding: chunked\r\n")
    text = "".join(lines).encode("latin-1", "replace")
    # Two control characters a line, its end: any more came with a value.
    if len(text) - len(text.translate(None, _CONTROLS)) != 2 * len(lines):
        raise ValueError("a header value holds control characters")
    return text + b"\r\n", length


def plain(status: int) -> bytes:
    """A whole answer with which the server itself turns a client away."""
    body = f"{_phrase(status)}\n"
    headers = (("content-type", "text/plain"), ("content-length", str(len(body))))
    return head(status, headers, close=True, chunk=False)[0] + body.encode()


@cache
def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status:03} {_phrase(status)}\r\n"


def _check(name: str) -> None:
    if _NAME.fullmatch(name) is None or name in _OURS:
        raise ValueError(f"{name!r} may not be the name of a header")
    if len(_names) < _MOST_NAMES:
        _names.add(name)
