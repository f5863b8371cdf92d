"""A provider key and a virtual key go every way there is, errors too; then all is searched for them."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import canary
from support.canary import Tap
from support.stack import Stack, chat

from keyrail.providers.sandbox import PROVIDER as SANDBOX

pytestmark = pytest.mark.timeout(240)

CANARY = "sk-canary-b81e4f0c27d95a63-"
REPLACED, TESTED = "sk-canary-replaced-5d1f09e7c3", "sk-canary-tested-88b0e2f4a1"
KEYS = 60
"""Refusals take keys out: enough of them for all that the walk provokes."""

DIALECTS = ("openai-chat", "openai-responses", "anthropic-messages", "gemini-generate")
SLOW = ("stall-2s", "slow-20ms", "huge-line")
MODELS = (
    *(m for m in SANDBOX.models if m not in SLOW),
    "status-401",
    "status-402",
    "status-403",
    "status-503",
)

Body = dict[str, Any]


def messages(model: str, *, stream: bool) -> tuple[str, Body]:
    return "/v1/messages", {**chat(model, stream=stream), "max_tokens": 50}


def responses(model: str, *, stream: bool) -> tuple[str, Body]:
    return "/v1/responses", {"model": model, "input": "one two three", "stream": stream}


def completions(model: str, *, stream: bool) -> tuple[str, Body]:
    return "/v1/chat/completions", chat(model, stream=stream)


FACES = (completions, responses, messages)


def config(sandbox_url: str) -> str:
    providers = "".join(
        f"  canary-{dialect.partition('-')[0]}{n}:\n"
        f"    {{dialect: {dialect}, base_url: '{sandbox_url}', needs_key: true,\n"
        f"     prices: {{'*': {{input: 0.1, output: 0.1}}}}}}\n"
        for n, dialect in enumerate(DIALECTS)
    )
    return (
        f"providers:\n{providers}routes:\n  falls:\n    strategy: fallback\n"
        "    targets: [canary-openai0/status-429, canary-openai1/error-auth, canary-openai0/echo]\n"
    )


def names() -> list[str]:
    return [f"canary-{dialect.partition('-')[0]}{n}" for n, dialect in enumerate(DIALECTS)]


class Walk:
    """All requests of one client, and all that it got to see."""

    def __init__(self, stack: Stack, key: str) -> None:
        self.seen: list[str] = []
        self.statuses: Counter[int] = Counter()
        self._client = httpx.AsyncClient(base_url=stack.url, timeout=60.0)
        self._key = key

    async def ask(self, path: str, body: Body, **headers: str) -> httpx.Response:
        answer = await self._client.post(path, json=body, headers={"x-api-key": self._key, **headers})
        self.seen.append(f"{answer.headers}\n{answer.text}")
        self.statuses[answer.status_code] += 1
        return answer

    async def refused(self) -> None:
        """Ways to be refused before any provider is asked."""
        path, body = completions("canary-openai0/echo", stream=False)
        for wrong in (self._key[:-1], self._key + "x", self._key.upper()):
            answer = await self._client.post(path, json=body, headers={"authorization": f"Bearer {wrong}"})
            assert answer.status_code == 401
            self.seen.append(f"{answer.headers}\n{answer.text}")
        for content in (b"{", b"[1]", b'{"model": 1}', b"\xff"):
            answer = await self._client.post(path, content=content, headers={"x-api-key": self._key})
            assert answer.status_code == 400
            self.seen.append(answer.text)
        for odd in ("nobody/x", "falls/", "canary-openai0/"):
            assert (await self.ask(path, {**body, "model": odd})).status_code in {400, 404}
        for path in ("/v1/models", f"/v1/models?key={self._key}", "/v1/files", f"/{self._key}"):
            answer = await self._client.get(path, headers={"x-api-key": self._key})
            self.seen.append(f"{answer.headers}\n{answer.text}".replace(f"/{self._key}", ""))

    async def leave_early(self) -> None:
        """A client that goes away in the middle of a stream."""
        path, body = completions("canary-openai0/chunks-100+slow-20ms", stream=True)
        async with self._client.stream(
            "POST", path, json=body, headers={"authorization": f"Bearer {self._key}"}
        ) as answer:
            async for chunk in answer.aiter_text():
                self.seen.append(chunk)
                break

    async def __aenter__(self) -> Walk:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


class Admin:
    """The admin API as a client sees it; `seen` has every answer but those that show a key once."""

    def __init__(self, stack: Stack) -> None:
        token = (stack.home / "admin.token").read_text().strip()
        self._http = httpx.AsyncClient(
            base_url=stack.run_file()["admin_url"], headers={"authorization": f"Bearer {token}"}, timeout=30.0
        )
        self.seen: list[str] = []

    async def call(self, method: str, path: str, body: Body | None = None, *, shown: bool = False) -> Any:
        answer = await self._http.request(method, path, json=body)
        if not shown:
            self.seen.append(f"{answer.headers}\n{answer.text}")
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.text

    async def __aenter__(self) -> Admin:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()


async def everywhere(walk: Walk) -> None:
    """Every face to every dialect, streamed and not, with every behaviour of the sandbox."""
    limit = asyncio.Semaphore(8)

    async def one(path: str, body: Body) -> None:
        async with limit:
            await walk.ask(path, body)

    calls = [
        face(f"{provider}/{model}", stream=stream)
        for (provider, model), face, stream in itertools.product(
            itertools.product(names(), MODELS), FACES, (False, True)
        )
    ]
    await asyncio.gather(*(one(path, body) for path, body in calls[:: len(calls) // 400 or 1]))


async def manage(admin: Admin) -> None:
    """Every change of a provider key, the refused ones too."""
    one = "/v1/keys/default/canary-openai0/k0"
    await admin.call("POST", f"{one}/rotate", {"value": REPLACED})
    await admin.call("POST", f"{one}/test")
    await admin.call("POST", "/v1/keys", {"provider": "canary-openai0", "id": "k0", "value": TESTED})
    await admin.call("POST", "/v1/keys", {"provider": "canary-openai0", "id": "new", "value": TESTED})
    await admin.call("POST", "/v1/keys/default/canary-openai0/new/test")
    await admin.call("POST", "/v1/keys", {"provider": TESTED, "id": TESTED, "value": 1})
    await admin.call("POST", "/v1/keys", {"provider": "openai", "id": "x", "value": f"{TESTED}\n{CANARY}"})
    await admin.call("POST", "/v1/keys", {"provider": "openai", "id": "x", "value": TESTED, TESTED: True})
    await admin.call("DELETE", "/v1/keys/default/canary-openai0/new")
    for path in ("keys", "tokens", "providers", "config", "config/history", "budgets", "alerts", "attempts"):
        await admin.call("GET", f"/v1/{path}")
    await admin.call("GET", "/metrics")


async def test_no_key_is_anywhere_but_where_it_belongs(
    make_stack: Callable[..., Stack], sandbox_url: str, tmp_path: Path
) -> None:
    stack = await make_stack(config(sandbox_url), scale={"provider-worker": 2}).start()
    tap = Tap(stack.home, tmp_path / "tapped")
    try:
        secrets, seen, public = await lead_about(stack)
        await stack.all_settled(())
        assert stack.process is not None
        pids = [stack.process.pid, *(p["pid"] for p in stack.run_file()["processes"])]
        places = canary.processes_of(pids)
        assert stack.stop() == 0
    finally:
        heard = tap.stop()
    assert heard.count(b"kr.v1.call.") > 300, "the bus was listened to"
    places |= {"answers": "\n".join(seen).encode(), "said": stack.said().encode(), "bus": heard}
    places |= canary.files_of(stack.home) | canary.tables_of(stack.home / "ledger")
    for secret in secrets:
        assert canary.places_that_hold(secret, places) == []
    assert canary.places_that_hold(public, places), "the search does find things"


async def lead_about(stack: Stack) -> tuple[list[str], list[str], str]:
    """Everywhere. Returns the secrets, all that anybody got to see, and something that is no secret."""
    async with Admin(stack) as admin:
        for provider, n in itertools.product(names(), range(KEYS)):
            value = f"{CANARY}{provider}-{n}"
            await admin.call("POST", "/v1/keys", {"provider": provider, "id": f"k{n}", "value": value})
        issued = await admin.call(
            "POST", "/v1/tokens", {"team": "search", "budgets": ["100/day"]}, shown=True
        )
        async with Walk(stack, issued["key"]) as walk:
            await everywhere(walk)
            await walk.refused()
            await walk.leave_early()
            assert (await walk.ask("/v1/chat/completions", chat("falls"))).status_code == 200
            assert walk.statuses[200] > 150, walk.statuses
            assert {400, 404, 429, 502, 503} <= walk.statuses.keys(), walk.statuses
        await manage(admin)
        rotated = await admin.call("POST", f"/v1/tokens/{issued['id']}/rotate", {"overlap": "1h"}, shown=True)
        async with Walk(stack, rotated["key"]) as again:
            assert (await again.ask(*completions("canary-openai0/echo", stream=False))).status_code == 200
        own = [key.split("_", 2)[2] for key in (issued["key"], rotated["key"])]
        return [CANARY, REPLACED, TESTED, *own], [*walk.seen, *again.seen, *admin.seen], issued["id"]
