"""The heads of HTTP answers as bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_OURS = frozenset({"connection", "transfer-encoding"})


def head(status: int, headers: Iterable[tuple[str, str]], *framing: str) -> bytes:
    """Status line and headers; `framing` are whole lines of the server's own.

    Raises ValueError for a name or value that would be more than one header, or that says how the message
    is framed. Names are lower case. What Latin-1 has no letter for becomes a question mark.
    """
    lines = [_status_line(status)]
    for name, value in headers:
        lines.append(f"{_checked(name)}: {value}\r\n")
    count = len(lines)
    text = "".join(lines)
    # One line each: a line break in a value would be one too many.
    if not text.count("\r\n") == text.count("\r") == text.count("\n") == count or _CONTROL.search(text):
        raise ValueError("a header value holds control characters")
    return f"{text}{''.join(framing)}\r\n".encode("latin-1", "replace")


def plain(status: int) -> bytes:
    """A whole answer with which the server itself turns a client away."""
    body = f"{_phrase(status)}\n"
    headers = (("content-type", "text/plain"), ("content-length", str(len(body))))
    return head(status, headers, "connection: close\r\n") + body.encode()


@cache
def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


@cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status:03} {_phrase(status)}\r\n"


@lru_cache(maxsize=256)
def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None or name in _OURS:
        raise ValueError(f"{name!r} may not be the name of a header")
    return name
