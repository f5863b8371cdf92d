"""Where requests go, and the head of a request as bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import quote, urlsplit

from keyrail.http.upstream.errors import UpstreamError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_IN_PATHS = "/%:@!$&'()*+,;=~-._"
_PORTS = {"http": 80, "https": 443}
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class Origin(NamedTuple):
    """What connections are kept for. `host` has no brackets around an IPv6 address."""

    tls: bool
    host: str
    port: int


class Endpoint:
    """A URL and the headers that every request there carries, checked and rendered once.

    Raises UpstreamError for a URL or header that can't be sent.
    """

    __slots__ = ("head", "origin")

    def __init__(self, url: str, headers: Mapping[str, str], method: Literal["POST", "GET"] = "POST") -> None:
        try:
            parts = urlsplit(url)
            self.origin = _origin(parts.scheme, parts.hostname, parts.port)
            if parts.username is not None:
                raise ValueError("a user in the URL")
        except ValueError:  # its words repeat the URL
            raise UpstreamError("the URL of the provider cannot be called", written=False) from None
        path = quote(parts.path or "/", safe=_IN_PATHS)
        if parts.query:
            path += "?" + quote(parts.query, safe=_IN_PATHS + "?")
        head = f"{method} {path} HTTP/1.1\r\nhost: {_host_header(self.origin)}\r\n"
        self.head = head.encode("ascii") + render(headers)


def render(headers: Mapping[str, str]) -> bytes:
    """Header lines. Raises UpstreamError for what would end a line early or contradict the framing."""
    lines: list[str] = []
    for name, value in headers.items():
        # Printable ASCII has no line breaks: nobody can add a header by way of a value.
        if not (_may_be_sent(name) and value.isascii() and value.isprintable()):
            raise UpstreamError("a header cannot be sent", written=False)
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("ascii")


@lru_cache(maxsize=1024)
def _may_be_sent(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None and name.lower() not in _FRAMING


def _origin(scheme: str, host: str | None, port: int | None) -> Origin:
    if scheme not in _PORTS or not host:
        raise ValueError("no host to call")
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if not host.isprintable() or " " in host:
        raise ValueError("no host name")
    return Origin(scheme == "https", host, _PORTS[scheme] if port is None else port)


def _host_header(origin: Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == _PORTS["https" if origin.tls else "http"] else f"{host}:{origin.port}"
