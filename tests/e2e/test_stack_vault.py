"""The embedded stack with its provider keys in Vault: a real server, with the policies of deploy/vault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from support.openbao import NO_SERVER, OpenBao, binary, within
from support.provider import Provider, Talk
from support.stack import Stack, chat

pytestmark = pytest.mark.timeout(120)

OLD, NEW = "sk-canary-old-3a1f77d2", "sk-canary-new-b80c12e6"
ANSWER = (
    b'{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"hi"}}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
)


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[OpenBao]:
    if binary() is None:
        pytest.skip(NO_SERVER)
    folder = tmp_path / "bao"
    folder.mkdir()
    server = OpenBao(folder)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Provider]:
    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            await talk.say(head % len(ANSWER) + ANSWER)

    provider = Provider(script)
    await provider.open()
    yield provider
    await provider.close()


def told(bao: OpenBao) -> dict[str, str]:
    return {
        "KEYRAIL_VAULT_ADDR": bao.url,
        "KEYRAIL_VAULT_SOFT_TTL_S": "1",
        "KEYRAIL_VAULT_WORKER_APPROLE": str(bao.directory / "provider-worker"),
        "KEYRAIL_VAULT_CONTROL_APPROLE": str(bao.directory / "control"),
    }


def config(upstream: Provider) -> str:
    return f'providers: {{my-vllm: {{base_url: "http://127.0.0.1:{upstream.port}/v1", needs_key: true}}}}'


def heard(upstream: Provider) -> str:
    """The credential of the last request that the provider got."""
    heads = [head.decode() for talk in upstream.talks for head, _ in talk.requests]
    fields = [line for line in heads[-1].split("\r\n") if line.lower().startswith("authorization:")]
    return fields[0].split(" ")[-1]


async def asked(stack: Stack, client: httpx.AsyncClient) -> int:
    return (await client.post("/v1/chat/completions", json=chat("my-vllm/qwen", "hello"))).status_code


async def test_keys_come_from_vault_are_rotated_there_and_outlive_it(
    make_stack: Callable[..., Stack], bao: OpenBao, upstream: Provider
) -> None:
    bao.put("default/providers/my-vllm/main", api_key=OLD)
    stack = await make_stack(config(upstream), environment=told(bao)).start()
    async with stack.http() as client:
        assert await asked(stack, client) == 200
        assert heard(upstream) == OLD
        providers = await stack.ledger("providers")
        assert next(row for row in providers if row["provider"] == "my-vllm")["key"] == "yes"

        bao.put("default/providers/my-vllm/main", api_key=NEW)

        async def rotated() -> bool:
            assert await asked(stack, client) == 200
            return heard(upstream) == NEW

        await within(3.0, rotated)  # polled each second

        bao.stop()
        metrics = f"{stack.run_file()['admin_url']}/metrics"

        async def noticed() -> bool:
            assert await asked(stack, client) == 200
            text = (await client.get(metrics)).text
            return any(
                line.startswith("keyrail_vault_state")
                and 'state="unreachable"' in line
                and line.endswith(" 1.0")
                for line in text.splitlines()
                if 'service="provider-worker"' in line
            )

        await within(10.0, noticed)
        for _ in range(20):
            assert await asked(stack, client) == 200
            assert heard(upstream) == NEW
    assert found_in(stack, bao) == []


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # the ledger and the bus come and go with files
        return b""


def environment(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


def found_in(stack: Stack, bao: OpenBao) -> list[str]:
    """Where a key's value, or what a service logs in with, is to be found."""
    assert stack.process is not None
    role_secrets = [
        (bao.directory / role / "secret_id").read_text().strip() for role in ("provider-worker", "control")
    ]
    secrets = [text.encode() for text in (OLD, NEW, *role_secrets)]
    files = [path for path in stack.home.rglob("*") if path.is_file()]
    pids = [stack.process.pid, *(process["pid"] for process in stack.run_file()["processes"])]
    files += [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("environ", "cmdline")]
    return [str(path) for path in files if any(secret in content(path) for secret in secrets)]


def assert_told_of_its_own_role_alone(stack: Stack, bao: OpenBao) -> None:
    seen = {process["service"]: environment(process["pid"]) for process in stack.run_file()["processes"]}
    assert {service for service, text in seen.items() if "VAULT" in text} == {"provider-worker", "control"}
    roles = {name: str(bao.directory / name) for name in ("provider-worker", "control")}
    assert roles["provider-worker"] in seen["provider-worker"]
    assert roles["control"] in seen["control"]
    assert roles["control"] not in seen["provider-worker"]
    assert roles["provider-worker"] not in seen["control"]
    assert "KEYSTORE" not in "".join(seen.values())
    assert "IDENTITY" not in "".join(seen.values())


async def test_a_key_of_the_environment_goes_into_vault(
    make_stack: Callable[..., Stack], bao: OpenBao, upstream: Provider
) -> None:
    stack = make_stack(config(upstream), environment={**told(bao), "MY_VLLM_API_KEY": OLD})
    await stack.start()
    assert "took the key for my-vllm from the environment into Vault (id env)" in stack.said()
    async with stack.http() as client:
        assert await asked(stack, client) == 200
    assert heard(upstream) == OLD
    stored = bao.ask("GET", "llm/data/tenants/default/providers/my-vllm/env")["data"]["data"]
    assert stored == {"api_key": OLD, "weight": 1}
    assert_told_of_its_own_role_alone(stack, bao)
    assert not list((stack.home / "keystore").glob("default/**/*.age"))
    assert found_in(stack, bao) == []


async def test_a_stack_is_not_ready_before_vault_is(
    make_stack: Callable[..., Stack], bao: OpenBao, upstream: Provider
) -> None:
    bao.put("default/providers/my-vllm/main", api_key=OLD)
    bao.seal()
    stack = make_stack(config(upstream), environment=told(bao))
    stack.begin()
    log = stack.home / "logs" / "provider-worker.jsonl"

    async def waits() -> bool:
        return log.exists() and '"vault_state": "sealed"' in log.read_text()

    await within(45.0, waits)
    assert "ready: " not in stack.said()
    await asyncio.to_thread(bao.unseal)
    await stack.ready()
    async with stack.http() as client:
        assert await asked(stack, client) == 200
    assert heard(upstream) == OLD
