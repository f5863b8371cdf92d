"""Processes are killed at random points under load; then provider, ledger and clients are compared.

Each round kills one to three of the services at once or shortly after one another, also while they recover.
The order is drawn from a seed, which is printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support import tally
from support.load import Load, Question, Witness
from support.stack import Stack, chat

from keyrail.bus.connection import BusSettings, connect
from keyrail.contracts import streams

STATEFUL = ("cost-accounting", "provider-worker", "nats-server")
HANG_S = 30.0
LAST_LONGEST_S = 75.0
"""What was handed out to a consumer that died comes again after 30 s; a silent worker's attempts are settled
some 20 s after that."""
CONFIG = """
providers:
  paid:
    base_url: "{url}/v1"
    needs_key: false
    prices: {{"*": {{input: 1, output: 3}}}}
  nobody: {{dialect: openai-chat, base_url: "http://127.0.0.1:1/v1", needs_key: false}}
routes:
  after-500: {{strategy: fallback, targets: [paid/status-500, paid/echo]}}
  after-cut: {{strategy: fallback, targets: [paid/cut-0, paid/stall-50ms]}}
  after-nobody: {{strategy: fallback, targets: [nobody/echo, paid/echo]}}
"""
QUESTIONS = (
    Question(chat("paid/stall-50ms")),
    Question(chat("paid/chunks-20+slow-10ms", stream=True)),
    Question(chat("after-500")),
    Question(chat("after-cut", stream=True)),
    Question(chat("paid/chunks-100+slow-20ms", stream=True), patience_s=0.5),
    Question(chat("after-nobody", stream=True)),
    Question(chat("paid/status-503")),
    Question(chat("paid/stall-2s"), patience_s=0.3),
    Question(chat("paid/error-mid-stream", stream=True)),
    Question(chat("paid/stall-50ms", stream=True)),
    Question(chat("after-cut")),
)
ASKED = 15  # tokens of the question, as the sandbox counts them
PRICES: Mapping[str, tally.Cost] = {
    model: (ASKED, tokens, Decimal(ASKED + 3 * tokens) / 1_000_000)
    for model, tokens in {
        "stall-50ms": 10,
        "stall-2s": 10,
        "echo": 10,
        "cut-0": 10,
        "error-mid-stream": 10,
        "chunks-20+slow-10ms": 20,
        "chunks-100+slow-20ms": 100,
    }.items()
}


class Killer:
    """Kills what is drawn from its seed."""

    def __init__(self, stack: Stack, services: tuple[str, ...], seed: int) -> None:
        self._stack = stack
        self._services = services
        self._draw = random.Random(seed)
        self.killed: list[str] = []

    async def round(self) -> None:
        """Kill one to all of the services; return when everything runs and serves again."""
        draw = self._draw
        await asyncio.sleep(draw.uniform(0, 1.0))  # the random point in the load
        victims = draw.sample(self._services, draw.randint(1, len(self._services)))
        if draw.random() < 0.3:
            victims.append(victims[0])  # again, while it recovers
        gone: list[tuple[str, int]] = []
        for victim in victims:
            await asyncio.sleep(draw.choice((0.0, draw.uniform(0, 0.2), draw.uniform(0, 1.5))))
            gone.append((victim, await self._kill(victim)))
        for victim, pid in gone:
            await self._stack.replaced(victim, pid, within_s=60)  # who dies often is started again later
        await self._stack.whole(within_s=60)

    async def _kill(self, service: str) -> int:
        async with asyncio.timeout(20):
            while True:
                for pid in self._stack.pids(service):
                    if self._ours(pid):
                        os.kill(pid, signal.SIGKILL)
                        self.killed.append(service)
                        return pid
                await asyncio.sleep(0.01)

    def _ours(self, pid: int) -> bool:
        """Whether it runs, and is a child of the stack: an ended one's number may be anybody's."""
        with suppress(OSError):
            state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            return state != "Z" and int(parent) == self._stack.run_file()["pid"]
        return False


async def kill_under_load(stack: Stack, url: str, services: tuple[str, ...], rounds: int, seed: int) -> None:
    """Kill so many times; then compare everything with everything."""
    killer = Killer(stack, services, seed)
    async with Witness(stack, url) as witness, Load(stack, QUESTIONS, kept=7, fresh=4) as load:
        for _ in range(rounds):
            await killer.round()
        await load.more(20)
        await load.__aexit__(None, None, None)
        await all_taken_in(stack)
        rows = await stack.all_settled(await witness.attempts(), within_s=LAST_LONGEST_S)
        await all_taken_in(stack)
        calls = await witness.attempts()
    assert stack.stop() == 0, stack.said()
    seen = tally.matched(calls, rows)
    spent = tally.priced(rows.values(), PRICES)
    if "ingress" not in services:  # what it had not told anybody, nobody knows
        tally.answered(load.answers, calls, rows, await asyncio.to_thread(requests_on, stack))
    hung = [answer for answer in load.answers if answer.seconds > HANG_S]
    assert not hung, hung
    assert seen["ok, called"] > 10 * rounds, seen
    kills = dict(sorted(Counter(killer.killed).items()))
    sys.stdout.write(f"seed {seed}, {rounds} rounds, killed {kills}, {len(load.answers)} requests, ")
    sys.stdout.write(f"{len(calls)} calls, {len(rows)} rows {dict(sorted(seen.items()))}, {spent} USD\n")


async def all_taken_in(stack: Stack) -> None:
    """Return once every event has been acknowledged by whoever puts it on the ledger."""
    run, name = stack.home / "run", "cost-accounting"
    port = json.loads((run / "nats-server.conf").read_text())["port"]
    password = (run / f"{name}.password").read_text().strip()
    bus = await connect(BusSettings(f"nats://127.0.0.1:{port}", name, name, password))
    try:
        async with asyncio.timeout(LAST_LONGEST_S):
            while True:
                info = await bus.js.consumer_info(streams.EVENTS.name, streams.COST_ACCOUNTING.name)
                if not info.num_pending and not info.num_ack_pending:
                    return
                await asyncio.sleep(0.1)
    finally:
        await bus.close()


def requests_on(stack: Stack) -> list[dict[str, Any]]:
    """Rows of `requests`, read from the ledger of a stack that has stopped, in a process of their own."""
    script = (
        "import json, sys; from keyrail_cost_accounting.ledger import open_ledger;"
        " print(json.dumps(open_ledger(sys.argv[1]).ask('SELECT toString(request_id) AS request_id, status,"
        " http_status FROM requests FINAL', {})))"
    )
    command = [sys.executable, "-c", script, str(stack.home / "ledger")]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout)


@pytest.mark.timeout(180)
async def test_every_call_is_on_the_ledger_once_whoever_is_killed(
    make_stack: Callable[..., Stack], sandbox_url: str
) -> None:
    stack = make_stack(CONFIG.format(url=sandbox_url))
    await kill_under_load(await stack.start(), sandbox_url, STATEFUL, rounds=3, seed=15)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(101, 106))  # fifty rounds
async def test_every_call_is_on_the_ledger_once_after_ten_rounds_of_kills(
    make_stack: Callable[..., Stack], sandbox_url: str, seed: int
) -> None:
    stack = make_stack(CONFIG.format(url=sandbox_url))
    await kill_under_load(await stack.start(), sandbox_url, STATEFUL, rounds=10, seed=seed)


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_every_call_is_on_the_ledger_once_when_routers_and_ingresses_are_killed_too(
    make_stack: Callable[..., Stack], sandbox_url: str
) -> None:
    stack = make_stack(CONFIG.format(url=sandbox_url), scale={"provider-worker": 2})
    services = (*STATEFUL, "router", "ingress")
    await kill_under_load(await stack.start(), sandbox_url, services, rounds=20, seed=201)
