"""Providers that die, come back, limit and break off: clients see only what no target could prevent."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from support.stack import Stack, chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

CONFIG = """
routes:
  cut-before: {strategy: fallback, targets: [sandbox/cut-0, sandbox/echo]}
  cut-after: {strategy: fallback, targets: [sandbox/cut-3, sandbox/echo]}
  stall-before:
    strategy: fallback
    targets: [sandbox/stuck-0, sandbox/echo]
    timeouts: {between_chunks: 0.3}
  stall-after:
    strategy: fallback
    targets: [sandbox/stuck-3, sandbox/echo]
    timeouts: {between_chunks: 0.3}
  malformed-before: {strategy: fallback, targets: [sandbox/garble-0, sandbox/echo]}
  malformed-after: {strategy: fallback, targets: [sandbox/garble-3, sandbox/echo]}
  dies: {strategy: fallback, targets: [sandbox/status-500+for-3s, sandbox/echo]}
  dies-for-a-minute: {strategy: fallback, targets: [sandbox/status-500+for-60s, sandbox/echo]}
  dies-hung:
    strategy: fallback
    targets: [sandbox/hang+for-3s, sandbox/echo]
    timeouts: {first_byte: 0.4}
  storm: {strategy: fallback, targets: [sandbox/status-429+retry-after-3+for-2s, sandbox/echo]}
  storm-silent: {strategy: fallback, targets: [sandbox/status-429+no-hint+for-2s, sandbox/echo]}
  nearly-used-up: {strategy: fallback, targets: [sandbox/left-3, sandbox/echo]}
  flaky: {targets: [sandbox/flaky-2]}
  all-down: {strategy: fallback, targets: [sandbox/status-500+slow-1ms, sandbox/status-502]}
  too-long:
    strategy: fallback
    targets:
      - {model: sandbox/context-length, window: 50000}
      - {model: sandbox/tools, window: 40000}
      - {model: sandbox/echo, window: 90000}
  speaks-late:
    strategy: fallback
    targets: [sandbox/stuck-0+keepalive, sandbox/echo]
    timeouts: {first_token: 0.4}
  all-limited:
    strategy: fallback
    targets: [sandbox/status-429+retry-after-40, sandbox/status-429+retry-after-20]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    running = Stack(
        tmp_path_factory.mktemp("resilience") / "home", CONFIG, scale={"provider-worker": 2, "router": 2}
    )
    await running.start()
    yield running
    await running.close()
    assert running.stop() == 0, running.said()


async def metric(stack: Stack, name: str, **labels: str) -> float:
    """The sum over all instances."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{stack.run_file()['admin_url']}/metrics")).text
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in text.splitlines() if line.startswith(name + "{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(each in line for each in wanted))


def served_by(answers: list[httpx.Response]) -> Counter[str]:
    assert {answer.status_code for answer in answers} == {200}
    return Counter(answer.headers["x-keyrail-model"] for answer in answers)


@pytest.mark.parametrize("fault", ["cut", "stall", "malformed"])
async def test_a_stream_that_breaks_before_its_content_is_another_targets(stack: Stack, fault: str) -> None:
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat(f"{fault}-before", stream=True))
    assert served_by([answer]) == {"echo": 1}
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "error" not in answer.text
    rows = await stack.settled(answer.headers["x-keyrail-request-id"], 2)
    first, second = sorted(rows, key=lambda row: row["hop"])
    kinds = {"cut": "truncated", "stall": "timeout", "malformed": "garbage"}
    assert (first["status"], first["failure"]) == ("failed", kinds[fault])
    assert second["status"] == "ok"


@pytest.mark.parametrize("fault", ["cut", "stall", "malformed"])
async def test_a_stream_that_breaks_after_its_content_ends_with_an_honest_error(
    stack: Stack, fault: str
) -> None:
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat(f"{fault}-after", stream=True))
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert "[DONE]" not in events
    *said, last = map(json.loads, events)
    assert "".join(c["delta"].get("content") or "" for each in said for c in each["choices"])
    assert last["error"]["message"]
    (attempt,) = await stack.settled(answer.headers["x-keyrail-request-id"])
    assert (attempt["status"], attempt["output_tokens"]) == ("failed", 4), "as estimated from three chunks"


async def test_a_prompt_that_does_not_fit_goes_to_a_larger_window_alone(stack: Stack) -> None:
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat("too-long"))
    assert served_by([answer]) == {"echo": 1}
    rows = await stack.settled(answer.headers["x-keyrail-request-id"], 2)
    assert sorted((row["hop"], row["failure"]) for row in rows) == [(0, "context"), (1, None)]


async def test_a_stream_that_does_not_begin_to_speak_in_time_is_another_targets(stack: Stack) -> None:
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat("speaks-late", stream=True))
    assert served_by([answer]) == {"echo": 1}
    rows = await stack.settled(answer.headers["x-keyrail-request-id"], 2)
    assert {row["detail"] for row in rows if row["status"] == "failed"} == {"timeout_first_token"}


class Load:
    """Requests for one route, one after the other on each of a few connections, until told to stop."""

    def __init__(self, stack: Stack, route: str, at_once: int = 3, pause_s: float = 0.1) -> None:
        self.answers: list[tuple[float, httpx.Response]] = []
        self._stack = stack
        self._route = route
        self._at_once = at_once
        self._pause_s = pause_s
        self._running = True

    async def run(self) -> None:
        async with self._stack.http() as client:
            await asyncio.gather(*(self._one(client) for _ in range(self._at_once)))

    async def _one(self, client: httpx.AsyncClient) -> None:
        while self._running:
            answer = await client.post("/v1/chat/completions", json=chat(self._route, "hello there"))
            self.answers.append((time.monotonic(), answer))
            await asyncio.sleep(self._pause_s)  # the load's own rhythm

    def stop(self) -> None:
        self._running = False

    def models(self) -> list[str]:
        return [answer.headers.get("x-keyrail-model", "none") for _, answer in self.answers]


async def recovered(load: Load, model: str, count: int, within_s: float) -> None:
    """Return once the last `count` answers were all the model's."""
    running = asyncio.create_task(load.run())
    try:
        async with asyncio.timeout(within_s):
            while load.models()[-count:] != [model] * count:
                assert not running.done(), running.result()
                await asyncio.sleep(0.05)
    finally:
        load.stop()
        await running


def thirds(models: list[str], model: str) -> list[float]:
    """Its share of the answers from the first that it served on, by thirds."""
    since = models[models.index(model) :]
    size = len(since) // 3
    return [since[size * part : size * (part + 1)].count(model) / size for part in range(3)]


async def died_and_came_back(stack: Stack, route: str, model: str, within_s: float) -> None:
    opens = await metric(stack, "keyrail_breaker_opens_total", provider="sandbox")
    load = Load(stack, route)
    await recovered(load, model, 30, within_s)
    assert {answer.status_code for _, answer in load.answers} == {200}, "no client saw it"
    models = load.models()
    assert Counter(models).keys() == {model, "echo"}
    rows = [row for row in await stack.attempts() if row["model"] == model and row["status"] == "failed"]
    away = models[: models.index(model)].count("echo")
    assert len(rows) < 0.5 * away, "most requests of the outage did not even try"
    assert await metric(stack, "keyrail_breaker_opens_total", provider="sandbox") > opens
    early, _, late = thirds(models, model)
    assert early < late, "its share grew"


async def test_a_provider_that_dies_is_left_alone_and_comes_back_slowly(stack: Stack) -> None:
    await died_and_came_back(stack, "dies", "status-500+for-3s", 60)


@pytest.mark.proof
async def test_a_provider_that_hangs_is_left_alone_too(stack: Stack) -> None:
    await died_and_came_back(stack, "dies-hung", "hang+for-3s", 60)


@pytest.mark.proof
@pytest.mark.timeout(300)
async def test_a_provider_that_dies_for_a_minute_is_left_alone_and_comes_back_slowly(stack: Stack) -> None:
    await died_and_came_back(stack, "dies-for-a-minute", "status-500+for-60s", 240)


@pytest.mark.parametrize("route", ["storm", "storm-silent"])
async def test_a_storm_of_429s_reaches_no_client(stack: Stack, route: str) -> None:
    model = "status-429+retry-after-3+for-2s" if route == "storm" else "status-429+no-hint+for-2s"
    load = Load(stack, route)
    await recovered(load, model, 10, 40)
    assert {answer.status_code for _, answer in load.answers} == {200}
    rows = [row for row in await stack.attempts() if row["model"] == model and row["status"] == "failed"]
    assert {row["failure"] for row in rows} == {"rate"}
    assert await metric(stack, "keyrail_breaker_opens_total", why="rate") == 0, (
        "a 429 is a clock, not a fault"
    )
    if route == "storm":
        away = load.models().index(model)
        assert len(rows) < 0.5 * away, "it said for how long, and all heard it"


async def test_requests_go_elsewhere_before_a_limit_is_used_up(stack: Stack) -> None:
    async with stack.http() as client:
        first = await client.post("/v1/chat/completions", json=chat("nearly-used-up"))
        assert first.headers["x-keyrail-model"] == "left-3"
        async with asyncio.timeout(10):
            while True:
                answer = await client.post("/v1/chat/completions", json=chat("nearly-used-up"))
                assert answer.status_code == 200
                if answer.headers["x-keyrail-model"] == "echo":
                    break
        assert answer.headers["x-keyrail-attempts"] == "1"
        async with asyncio.timeout(10):
            while answer.headers["x-keyrail-model"] != "left-3":  # two seconds later
                answer = await client.post("/v1/chat/completions", json=chat("nearly-used-up"))
    assert await metric(stack, "keyrail_steered_total", why="limits") > 0


async def test_what_passes_by_itself_is_tried_again_where_no_target_is_left(stack: Stack) -> None:
    retries = await metric(stack, "keyrail_retries_total", after="server")
    async with stack.http() as client:
        answer = await client.post("/v1/chat/completions", json=chat("flaky", stream=True))
    assert served_by([answer]) == {"flaky-2": 1}
    assert answer.headers["x-keyrail-attempts"] == "2"
    rows = await stack.settled(answer.headers["x-keyrail-request-id"], 2)
    assert sorted((row["hop"], row["status"]) for row in rows) == [(0, "failed"), (1, "ok")]
    assert await metric(stack, "keyrail_retries_total", after="server") == retries + 1


FACES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", chat("all-down")),
    "responses": ("/v1/responses", {"model": "all-down", "input": "hello"}),
    "messages": (
        "/v1/messages",
        {"model": "all-down", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]},
    ),
}


async def test_when_all_targets_are_down_each_face_says_when_to_come_back(stack: Stack) -> None:
    async with stack.http() as client:
        async with asyncio.timeout(20):  # until a breaker opens
            while True:
                first = await client.post("/v1/chat/completions", json=chat("all-down"))
                assert first.status_code == 503
                if "retry-after" in first.headers:
                    break
        attempts = await stack.settled(first.headers["x-keyrail-request-id"], 1)
        for face, (path, body) in FACES.items():
            answer = await client.post(path, json=body)
            assert answer.status_code in (503, 529), face
            assert 1 <= int(answer.headers["retry-after"]) <= 10, face
            told = answer.json()
            assert "error" in told, face
            assert (told.get("type") == "error") == (face == "messages")
    assert attempts, "they were tried all the same: nobody else was there"


async def test_when_all_targets_limit_us_it_is_a_429_with_the_soonest_wait(stack: Stack) -> None:
    async with stack.http() as client:
        for _ in range(3):
            answer = await client.post("/v1/chat/completions", json=chat("all-limited"))
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "20"
            assert answer.headers["x-keyrail-attempts"] == "2", "twenty seconds are the client's to wait"


async def test_a_storm_in_which_nobody_answers_is_not_made_much_worse_by_retries(stack: Stack) -> None:
    body = chat("all-down")
    before = len(await stack.attempts())
    last = ""
    async with stack.http() as client:
        for _ in range(40):
            answer = await client.post("/v1/chat/completions", json=body)
            assert answer.status_code == 503
            last = answer.headers["x-keyrail-request-id"]
    await stack.settled(last, 2)
    made = len(await stack.attempts()) - before
    assert made <= 40 * 2 + 40 * 2 // 5 + 2 * 3
