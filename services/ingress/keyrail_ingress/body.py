"""Reading a request's body within a bound."""

from __future__ import annotations

import asyncio
import contextlib

from keyrail.contracts.failures import Failure
from keyrail.http.server import Receive

LINGER_S = 2.0
LINGER_BYTES = 64 << 20


class ClientGone(Exception):
    """The client left before its request was complete."""


async def read(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes | Failure:
    """The whole body, or a 413 as soon as it is known to be too large, or 415 for an encoded one."""
    if headers.get(b"content-encoding", b"identity") != b"identity":
        return Failure(kind="bad_request", message="Content-Encoding is not accepted here.", status=415)
    announced = headers.get(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        return _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return _too_large(limit)
        parts.append(chunk)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def discard(receive: Receive) -> None:
    """Read on and forget, for a moment: a client that is still sending would see a reset, not its answer."""
    left = LINGER_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))


def _too_large(limit: int) -> Failure:
    return Failure(
        kind="bad_request",
        message=f"The request body is larger than {limit} bytes.",
        status=413,
        code="request_too_large",
    )
