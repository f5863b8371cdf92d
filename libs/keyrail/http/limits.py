"""What a client of the HTTP server may do, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. A body's size is bounded by whoever reads it."""

    url: int = 8 << 10
    head: int = 64 << 10  # request line and headers; also a chunk's extensions, and trailers
    headers: int = 128
    pipelined: int = 32  # requests sent before the answer to an earlier one
    unread: int = 64 << 10  # a body that nobody reads is skipped up to here; beyond, the connection is closed
    check_s: float = 1.0  # how often times are looked at: one timer for all, none to set and cancel a request
    idle_s: float = 75.0
    handshake_s: float = 10.0  # where there is TLS
    head_s: float = 20.0
    body_s: float = 30.0  # and a second more for every `body_rate` bytes that have come
    body_rate: int = 8 << 10
    stall_s: float = 60.0  # a client that takes nothing of what is sent is given up
    linger_s: float = (
        2.0  # a client still sending would see a reset, not its answer, were we to close at once
    )
    linger: int = 64 << 20
