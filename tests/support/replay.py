"""A provider that answers with recorded bytes, event streams cut at random places."""

from __future__ import annotations

import asyncio
import random
import re

from support.recorded import MARK, Case

_ID = re.compile(rf"{MARK}([0-9a-f]{{12}}-[0-9a-f]{{8}})".encode())


class Replay:
    """Serves on loopback. The case is named in the model, which is in the path or in the body."""

    def __init__(self, cases: list[Case], seed: int) -> None:
        self._cases = {case.id.encode(): case for case in cases}
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.received: dict[str, tuple[bytes, bytes]] = {}

    async def start(self) -> str:
        """The URL."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 24)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.close()
        await self._server.wait_closed()
        while self._open:
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                await self._answer(head, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._open.discard(writer)

    async def _answer(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        found = _ID.search(head.partition(b"\r\n")[0]) or _ID.search(body)
        assert found is not None, (head, body[:500])
        case = self._cases[found[1]]
        self.received[case.id] = (head, body)
        headers = {"content-type": "text/event-stream" if case.stream else "application/json"} | {
            name: value for name, value in case.headers.items() if name != "content-type"
        }
        lines = [f"HTTP/1.1 {case.status} Recorded", *(f"{name}: {value}" for name, value in headers.items())]
        if not case.stream:
            lines += [f"content-length: {len(case.body)}", "", ""]
            writer.write("\r\n".join(lines).encode() + case.body)
            await writer.drain()
            return
        writer.write("\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode())
        places = sorted(self._random.sample(range(1, len(case.body)), min(6, len(case.body) - 1)))
        for begin, end in zip([0, *places], [*places, len(case.body)], strict=True):
            writer.write(b"%x\r\n%s\r\n" % (end - begin, case.body[begin:end]))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
