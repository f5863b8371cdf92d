"""The Kubernetes API server as Vault's Kubernetes auth asks it: TokenReview over HTTPS."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from typing import Any

import trustme


def service_account_token(audience: str, namespace: str = "keyrail", name: str = "provider-worker") -> str:
    """A JWT as the kubelet projects it. Nobody but the API server looks at its signature."""
    claims = {
        "aud": [audience],
        "iss": "https://kubernetes.default.svc",
        "sub": f"system:serviceaccount:{namespace}:{name}",
        "iat": int(time.time()),
        "exp": int(time.time()) + 600,
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": "uid-1"}},
    }
    parts = [{"alg": "RS256", "kid": "1", "typ": "JWT"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, base64.urlsafe_b64encode(b"0" * 256).rstrip(b"=").decode()])


class ApiServer:
    """Knows one token. What it was asked is in `reviews`."""

    def __init__(self, good: str) -> None:
        self.good = good
        self.reviews: list[dict[str, Any]] = []
        self.authority = trustme.CA()
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def ca_pem(self) -> str:
        return self.authority.cert_pem.bytes().decode()

    async def start(self) -> ApiServer:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(int(h.split(":")[1]) for h in head.split("\r\n") if h.startswith("content-length"))
        review = json.loads(await reader.readexactly(length))
        self.reviews.append(review["spec"])
        status: dict[str, Any] = {"authenticated": review["spec"]["token"] == self.good}
        if status["authenticated"]:
            user = {"username": "system:serviceaccount:keyrail:provider-worker", "uid": "uid-1"}
            groups = ["system:serviceaccounts", "system:serviceaccounts:keyrail", "system:authenticated"]
            status |= {"user": {**user, "groups": groups}, "audiences": review["spec"].get("audiences")}
        body = json.dumps({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status})
        writer.write(
            f"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"connection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()
