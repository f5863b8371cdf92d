"""The admin API and the standard input of a test's own."""

from __future__ import annotations

import io
from collections.abc import Callable

import httpx
import pytest
from support.admin import Admin

from keyrail.http.admin import AdminClient
from keyrail_cli import client


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    made = Admin()

    def connect() -> AdminClient:
        return AdminClient("http://admin", "t0", httpx.MockTransport(made.answer))

    monkeypatch.setattr(client, "connect", connect)
    return made


class Input(io.TextIOWrapper):
    """A standard input that is, or is not, a terminal."""

    def __init__(self, data: bytes, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Say what comes in by a pipe."""
    return lambda data: monkeypatch.setattr("sys.stdin", Input(data, terminal=False))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Say what is typed, in order. Returns the prompts that it was typed at."""

    def one(*lines: str) -> list[str]:
        prompts: list[str] = []
        left = list(lines)

        def getpass(prompt: str) -> str:
            prompts.append(prompt)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr("sys.stdin", Input(b"", terminal=True))
        monkeypatch.setattr("getpass.getpass", getpass)
        return prompts

    return one
