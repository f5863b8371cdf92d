"""An admin API that has exactly the answers of a test."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Admin:
    """Answers by method and path, once each at most; keeps what was sent."""

    answers: dict[str, httpx.Response] = field(default_factory=dict[str, httpx.Response])
    asked: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    def on(self, what: str, body: object, status: int = 200) -> None:
        """`what`: `POST /v1/keys`."""
        self.answers[what] = httpx.Response(status, json=body)

    def rows(self, path: str, *rows: object) -> None:
        self.on(f"GET {path}", {"rows": rows, "cursor": None})

    def refuse(self, what: str, message: str, status: int, **more: object) -> None:
        self.on(what, {"error": {"message": message}, **more}, status)

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer t0"
        what = f"{request.method} {request.url.raw_path.decode()}"
        self.asked.append((what, json.loads(request.content) if request.content else None))
        return self.answers[what]
