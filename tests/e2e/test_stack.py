"""`keyrail up` itself: what it says, what it leaves behind, how it starts and stops."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from support.stack import Stack, chat

pytestmark = pytest.mark.timeout(120)

MakeStack = Callable[..., Stack]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def everybody(stack: Stack) -> list[int]:
    return [p["pid"] for p in stack.run_file()["processes"]]


async def gone(pids: list[int], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(") ")[2][0] != "Z"


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_a_stack_says_when_it_is_ready_and_where_and_stops_without_a_trace(
    make_stack: MakeStack,
) -> None:
    stack = make_stack()
    stack.begin()
    await readiness_is_no_before_and_yes_after_and_no_without_workers(stack)
    key_file = stack.home / "default.key"
    assert stack.said().splitlines() == [f"keyrail: ready: {stack.url}  first virtual key: {key_file}"]
    for name in ("default.key", "admin.token", "run.json", "identity.key"):
        assert mode(stack.home / name) == 0o600, name
    assert mode(stack.home) == 0o700
    await probes_and_metrics(stack)
    second = Stack(stack.home)
    began = time.monotonic()
    second.begin()
    assert second.process is not None
    assert second.process.wait(20) == 1
    assert time.monotonic() - began < 15, "it does not wait for what it can't have"
    assert f"pid {stack.run_file()['pid']} serves {stack.url}" in second.said()
    async with stack.http() as client:
        assert (await client.post("/v1/chat/completions", json=chat("sandbox/echo"))).status_code == 200
    pids = everybody(stack)
    assert stack.stop() == 0
    assert not any(alive(pid) for pid in pids)
    assert not (stack.home / "run.json").exists()
    assert "Traceback" not in stack.said()
    logs_are_json(stack)


async def readiness_is_no_before_and_yes_after_and_no_without_workers(stack: Stack) -> None:
    seen: list[int] = []
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as client, asyncio.timeout(75):
        while 200 not in seen:
            try:
                seen.append((await client.get("/readyz")).status_code)
            except httpx.ConnectError:
                await asyncio.sleep(0.02)  # not even listening yet
        assert set(seen) <= {503, 200}  # a slow start may be over before anybody was answered
        await stack.ready()
        stack.signal("provider-worker", signal.SIGSTOP)
        try:
            while (await client.get("/readyz")).status_code != 503:
                await asyncio.sleep(0.05)
            assert (await client.get("/healthz")).status_code == 200
        finally:
            stack.signal("provider-worker", signal.SIGCONT)
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.05)


async def probes_and_metrics(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.url) as nobody:
        assert (await nobody.get("/healthz")).status_code == 200
        assert (await nobody.get("/readyz")).status_code == 200
    async with stack.http() as client:
        await client.post("/v1/chat/completions", json=chat("sandbox/echo"))
        async with asyncio.timeout(20):  # the ledger's rows come a moment later
            while True:
                text = (await client.get(f"{stack.run_file()['admin_url']}/metrics")).text
                if re.search(r'^keyrail_ledger_rows_total{.*service="cost-accounting".*} [1-9]', text, re.M):
                    break
    for counter, service in (
        ("keyrail_requests_total", "ingress"),
        ("keyrail_plans_total", "router"),
        ("keyrail_upstream_attempts_total", "provider-worker"),
    ):
        assert re.search(rf'^{counter}{{.*service="{service}".*}} [1-9]', text, re.M), (counter, service)


def logs_are_json(stack: Stack) -> None:
    files = list((stack.home / "logs").iterdir())
    assert len(files) == 8
    assert [file.name for file in files if file.suffix != ".jsonl"] == ["nats-server.log"]
    for file in files:
        if file.suffix == ".jsonl":
            for line in file.read_text().splitlines():
                assert {"time", "level", "service", "event"} <= json.loads(line).keys()


async def test_a_killed_supervisor_leaves_nobody_behind_and_nothing_lost(make_stack: MakeStack) -> None:
    stack = await make_stack().start()
    body = chat("sandbox/chunks-1000+slow-20ms", stream=True)
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat("sandbox/echo"))
        request_id = answer.headers["x-keyrail-request-id"]
        await stack.settled(request_id)
        async with client.stream("POST", "/v1/chat/completions", json=body):  # and something is under way
            pids = everybody(stack)
            assert stack.process is not None
            stack.process.kill()
            stack.process.wait()
            again = Stack(stack.home)
            again.begin()  # at once: it waits for the others to end
            await gone(pids, within_s=25)
    try:
        await again.ready()
        assert [a["status"] for a in await again.attempts(request_id)] == ["ok"]
        async with again.http() as client:
            assert (await client.post("/v1/chat/completions", json=chat("sandbox/echo"))).status_code == 200
        pids = everybody(again)
        assert again.process is not None
        again.process.send_signal(signal.SIGINT)
        assert again.process.wait(60) == 0
        assert not any(alive(pid) for pid in pids)
    finally:
        again.stop()


async def test_a_taken_port_is_said(make_stack: MakeStack) -> None:
    stack = make_stack()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", stack.port)
    async with server:
        stack.begin()
        assert stack.process is not None
        assert await asyncio.to_thread(stack.process.wait, 20) == 1
    assert f"port {stack.port} " in stack.said()
    assert "KEYRAIL_PORT" in stack.said()


async def test_a_bad_configuration_is_said_with_its_line(make_stack: MakeStack, tmp_path: Path) -> None:
    bad = tmp_path / "keyrail.yaml"
    bad.write_text("routes:\n  smart:\n    targets: [sandbox/echo]\n    strateggy: fallback\n")
    stack = make_stack(environment={"KEYRAIL_CONFIG": str(bad)})
    stack.begin()
    assert stack.process is not None
    assert stack.process.wait(20) == 2
    assert re.search(r"\bkeyrail\.yaml:4: .*strateggy", stack.said())
    assert not (stack.home / "run.json").exists()


async def test_stopping_while_starting_leaves_nobody(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.begin()
    logs = stack.home / "logs"
    async with asyncio.timeout(30):
        while not (logs / "ingress.jsonl").exists():
            await asyncio.sleep(0.005)
    assert stack.process is not None
    children = children_of(stack.process.pid)
    assert children
    began = time.monotonic()
    assert stack.stop() == 0
    assert time.monotonic() - began < 25
    assert not any(alive(pid) for pid in children)
