"""Vault's API as far as we use it, by ourselves: for ways to fail that no real server shows on demand."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from keyrail.keys.settings import KeyReaderSettings

Mode = Literal["ok", "sealed", "denied", "rate_limited", "slow", "drips", "garbage", "redirects", "no mount"]
ROLE_ID, SECRET_ID = "role-id-of-the-fake", "canary-secret-id-71c2"
TOKEN = "canary-token-"
_REFUSALS: dict[Mode, tuple[int, list[str]]] = {
    "sealed": (503, ["Vault is sealed"]),
    "denied": (403, ["1 error occurred:\n\t* permission denied\n\n"]),
    "rate_limited": (429, ["request path: rate limit quota exceeded"]),
    "no mount": (404, ["no handler for route"]),
}


class FakeVault:
    """On a port that stays its own: `stop` and `start` are an outage. `mode` counts for each request."""

    def __init__(self, directory: Path) -> None:
        self.mode: Mode = "ok"
        self.refused_paths: set[str] = set()
        self.ttl_s = 3600
        self.renewable = True
        self.port = 0
        self.tokens: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.secrets: dict[str, list[tuple[str, dict[str, Any]]]] = {}  # each version: when, and what
        self._puts = 0
        self.connections: set[asyncio.StreamWriter] = set()
        self.released = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.role_id_file = directory / "role_id"
        self.secret_id_file = directory / "secret_id"
        self.role_id_file.write_text(ROLE_ID)
        self.secret_id_file.write_text(SECRET_ID)

    async def start(self) -> FakeVault:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self.released.set()
        if self._server is not None:
            self._server.close()
            for writer in self.connections:
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    def settings(self, **options: Any) -> KeyReaderSettings:
        told: dict[str, Any] = {
            "vault_addr": f"http://127.0.0.1:{self.port}",
            "vault_role_id_file": self.role_id_file,
            "vault_secret_id_file": self.secret_id_file,
        }
        return KeyReaderSettings(**{**told, **options})

    def put(self, path: str, **content: object) -> None:
        """A new version of a secret under `tenants/`."""
        self._put(f"tenants/{path}", content)

    def _put(self, name: str, content: dict[str, Any]) -> int:
        self._puts += 1
        versions = self.secrets.setdefault(name, [])
        versions.append((f"2026-01-01T00:00:00.{self._puts:09}Z", content))
        return len(versions)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        try:
            while True:
                await self._exchange(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        fields = {n.lower(): v for n, v in (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)}
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        path = target.partition("?")[0].removeprefix("/v1/")
        self.calls[f"{method} {path}"] += 1
        if self.mode == "slow":
            await self.released.wait()
            return
        if self.mode == "drips":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n")
            while not self.released.is_set():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
            return
        if self.mode == "redirects":
            writer.write(b"HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
            return
        if self.mode == "garbage":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<html>hi</html>")
            return
        status, answer = self._answer(method, path, fields, json.loads(body or b"{}"))
        text = b"" if answer is None else json.dumps(answer).encode()
        writer.write(
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (status, len(text), text)
        )
        await writer.drain()

    def _answer(
        self, method: str, path: str, fields: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | None]:
        mode = "denied" if path in self.refused_paths else self.mode
        if mode in _REFUSALS:
            status, errors = _REFUSALS[mode]
            # A server, or what is between, may quote what it was sent.
            return status, {"errors": [f"{error}: {fields} {body}" for error in errors]}
        if path == "auth/approle/login":
            if (body["role_id"], body["secret_id"]) != (ROLE_ID, SECRET_ID):
                return 400, {"errors": [f"invalid role or secret ID: {body}"]}
            self.tokens.add(token := f"{TOKEN}{self.calls['POST auth/approle/login']}")
            return 200, self._auth(token)
        token = fields.get("x-vault-token", "")
        if token not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        if path == "auth/token/renew-self":
            return 200, self._auth(token)
        _, kind, name = path.split("/", 2)
        return self._data(method, name, body) if kind == "data" else self._metadata(method, name)

    def _auth(self, token: str) -> dict[str, Any]:
        auth = {"client_token": token, "lease_duration": self.ttl_s, "renewable": self.renewable}
        return {"auth": auth}

    def _data(self, method: str, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        versions = self.secrets.get(name, [])
        if method == "POST":
            return 200, {"data": {"version": self._put(name, body["data"])}}
        if not versions:
            return 404, {"errors": []}
        created, content = versions[-1]
        return 200, {
            "data": {"data": content, "metadata": {"version": len(versions), "created_time": created}}
        }

    def _metadata(self, method: str, name: str) -> tuple[int, dict[str, Any] | None]:
        if method == "DELETE":
            self.secrets.pop(name, None)
            return 204, None
        if method == "LIST":
            below = {n.removeprefix(f"{name}/") for n in self.secrets if n.startswith(f"{name}/")}
            entries = {head + slash for head, slash, _ in (n.partition("/") for n in below)}
            return (200, {"data": {"keys": sorted(entries)}}) if entries else (404, {"errors": []})
        versions = self.secrets.get(name, [])
        if not versions:
            return 404, {"errors": []}
        numbered = {
            str(number): {"created_time": created, "deletion_time": "", "destroyed": False}
            for number, (created, _) in enumerate(versions, 1)
        }
        return 200, {"data": {"current_version": len(versions), "versions": numbered}}
