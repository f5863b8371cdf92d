"""Provider keys that come in by the environment: used upstream, and nowhere else to be found."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
from support import canary
from support.stack import Stack, chat

pytestmark = pytest.mark.timeout(120)

OPENAI, GROQ = "sk-canary-4f1d9c62e8b7a305", "gsk_canary_7be2905d1c48f36a"
CHANGED = "sk-canary-changed-90ac3be1"
REFUSES_KEYS = (401, 402, 429)
"""Statuses that take a key out: each is given by a provider of its own, the others are called on."""
REFUSING = {
    (status, stream): f"p{status}{'s' if stream else ''}"
    for status in REFUSES_KEYS
    for stream in (False, True)
}


class Parrot:
    """An upstream that quotes the Authorization header wherever it can. The model's name is the status."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = {n.lower(): v for n, v in (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)}
        body = json.loads(await reader.readexactly(int(fields["content-length"])))
        key = fields["authorization"].removeprefix("Bearer ")
        self.seen.append(key)
        error = {"message": f"I got {fields['authorization']}", "type": key, "code": key, "param": key}
        kind, payload = "application/json", json.dumps({"error": {**error, "headers": {key: [key]}}})
        status = int(body["model"])
        if status == 200:
            kind, payload = "text/event-stream", f"data: {payload}\n\n"
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nx-request-id: {key}\r\n"
            f"content-length: {len(payload)}\r\nconnection: close\r\n\r\n{payload}".encode()
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def parrot() -> AsyncIterator[Parrot]:
    parrot = Parrot()
    server = await asyncio.start_server(parrot.serve, "127.0.0.1", 0)
    parrot.port = server.sockets[0].getsockname()[1]
    async with server:
        yield parrot


async def quoted(stack: Stack) -> str:
    """All that a client gets to see of the parrot's answers."""
    texts: list[str] = []
    async with stack.http() as client:
        for status in (400, 401, 402, 403, 404, 422, 429, 500, 503, 200):
            for stream in (False, True):
                model = f"{REFUSING.get((status, stream), 'openai')}/{status}"
                answer = await client.post("/v1/chat/completions", json=chat(model, stream=stream))
                assert answer.status_code >= 400, answer.text
                texts.append(f"{answer.headers}\n{answer.text}")
        texts.append(str((await client.get("/v1/models")).json()))
        texts.append((await client.get(f"{stack.run_file()['admin_url']}/metrics")).text)
    with pytest.raises(openai.BadRequestError) as caught:
        await stack.openai().chat.completions.create(**chat("openai/400"))
    assert "I got Bearer [redacted]" in str(caught.value)
    return "\n".join([*texts, str(caught.value), str(caught.value.body)])


def places_that_hold(value: str, stack: Stack, answers: str) -> list[str]:
    assert stack.process is not None
    pids = [stack.process.pid, *(p["pid"] for p in stack.run_file()["processes"])]
    places = {"answers": answers.encode(), "said": stack.said().encode()}
    places |= canary.processes_of(pids) | canary.files_of(stack.home)
    return canary.places_that_hold(value, places)


async def test_a_key_from_the_environment_is_used_and_leaks_nowhere(
    make_stack: Callable[..., Stack], parrot: Parrot
) -> None:
    url = f"http://127.0.0.1:{parrot.port}/v1"
    declared = "".join(f"  {name}: {{base_url: '{url}', needs_key: true}}\n" for name in REFUSING.values())
    config = f"providers:\n  openai: {{base_url: '{url}'}}\n{declared}"
    names = ("OPENAI_API_KEY", *(f"{name.upper()}_API_KEY" for name in REFUSING.values()))
    keys = {**dict.fromkeys(names, OPENAI), "GROQ_API_KEY": GROQ, "UNRELATED": OPENAI}
    stack = await make_stack(config, environment=keys).start()
    for provider in ("openai", "groq"):
        assert f"took the key for {provider} from the environment" in stack.said()
        assert list((stack.home / "keystore" / "default" / provider).iterdir())
    answers = await quoted(stack)
    assert set(parrot.seen) == {OPENAI}
    attempts = await all_settled(stack, 21)
    assert {a["provider_key_id"] for a in attempts} == {"env"}
    assert any(a["upstream_id"] == "[redacted]" for a in attempts), "the parrot's id was looked at"
    for value in (OPENAI, GROQ):
        assert places_that_hold(value, stack, answers + json.dumps(attempts)) == []
    assert stack.stop() == 0

    parrot.seen.clear()
    await stack.close()
    stack.environment = dict.fromkeys(names, CHANGED)  # which brings those in again that are out
    await stack.start()
    answers = await quoted(stack)
    assert set(parrot.seen) == {CHANGED}
    for value in (OPENAI, CHANGED):
        assert places_that_hold(value, stack, answers) == []


async def all_settled(stack: Stack, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        while True:
            attempts = await stack.attempts()
            if len(attempts) >= count and all(a["status"] != "running" for a in attempts):
                return attempts
            await asyncio.sleep(0.1)
