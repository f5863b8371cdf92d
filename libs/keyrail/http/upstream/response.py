"""An answer whose status and headers are there and whose body is still coming."""

from __future__ import annotations

from keyrail.http.upstream.connection import READING, Connection
from keyrail.http.upstream.errors import UnreadableAnswer

MAX_ANSWER = 32 << 20


class UpstreamResponse:
    """Read it by `read` or by `chunk`, then `leave` it, whatever happened.

    Leaving early closes the connection at once, unless `complete` was set: then the rest is read away for a
    second at most, so that the connection can be used again.
    """

    __slots__ = ("_connection", "complete", "headers", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self.complete = False  # set by who reads: what may still come means nothing
        self.status = connection.status
        self.headers = connection.headers

    async def read(self, limit: int = MAX_ANSWER) -> bytes:
        """The whole body. Raises UpstreamError when it breaks off or is larger than `limit` bytes."""
        connection = self._connection
        assert connection is not None
        parts: list[bytes] = []
        left = limit
        while True:
            if connection.state == READING:
                await connection.wait_whole(left)
            part = connection.take()
            left -= len(part)
            if left < 0:
                raise UnreadableAnswer(f"the answer is larger than {limit} bytes", written=True)
            if part:
                parts.append(part)
            elif connection.state != READING:
                break
        if connection.error is not None:
            raise connection.error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunk(self) -> bytes:
        """What has come of the body since the last call, waiting for something; empty at its end.

        Raises UpstreamError when the body breaks off, after all that came of it.
        """
        connection = self._connection
        assert connection is not None
        while not (part := connection.take()):
            if connection.error is not None:
                raise connection.error
            if connection.state != READING:
                return b""
            await connection.wait()
        return part

    def leave(self) -> None:
        """Give the connection back or close it. Nothing can be read any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave(complete=self.complete)
