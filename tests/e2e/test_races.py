"""Races on a running stack: one winner for the client, a row for each loser, nothing left running."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import statistics
import time
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
import pytest_asyncio
from support import races
from support.races import by_standing, route
from support.stack import TEN_WORDS, Stack, chat

from keyrail.contracts.config import ModelPrice, RaceRule, RouteConfig

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = ("echo", "echo+stall-50ms", "slow-20ms+echo", "keepalive+slow-20ms+echo", "stall-300ms+echo")
BAD = (
    "status-500",
    "status-429",
    "stall-50ms+status-503",
    "cut-2",
    "cut-0",
    "error-mid-stream",
    "garbage",
    "empty",
    "hang",
)
MODES = ("first", "first_complete", "best", "hedge")
SHAPES = 40


def drawn(seed: int, number: int) -> list[RouteConfig]:
    """Routes that race two to four targets, at least one of them good, in any order."""
    draw = random.Random(seed)
    made: list[RouteConfig] = []
    for index in range(number):
        models = [draw.choice(GOOD), *(draw.choice(GOOD + BAD) for _ in range(draw.randint(1, 3)))]
        draw.shuffle(models)
        rule = RaceRule(
            mode=MODES[index % len(MODES)],
            most=draw.choice((2, 3)),
            delay_s=draw.choice((0.0, 0.05, 0.2)),
            within_s=draw.choice((0.3, 1.0)),
            drain=index % 10 == 9,
        )
        made.append(route(f"race-{index}", rule, *(f"sandbox/{model}" for model in models)))
    return made


FORM = {"type": "json_schema", "json_schema": {"name": "echo", "schema": {"type": "object"}}}
DEAR = {"*": ModelPrice(input=Decimal(10), output=Decimal(10))}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("races") / "home", scale={"provider-worker": 2, "racer": 2})
    await running.start()
    slow = "sandbox/echo+stall-30s"
    fixed = [
        route("slow-first", RaceRule(mode="first"), slow, "sandbox/echo"),
        route("drained", RaceRule(mode="first", drain=True), "sandbox/echo+stall-1s", "sandbox/echo"),
        route("all-fail", RaceRule(mode="first"), "sandbox/status-500", "sandbox/error-rate"),
        route("killed", RaceRule(mode="first"), "sandbox/echo+stall-6s", "sandbox/echo+stall-7s"),
        route("stalls", RaceRule(mode="first"), slow, "sandbox/echo+stall-29s"),
        route("dear", RaceRule(mode="first"), "priced/echo+stall-300ms", "priced/echo"),
        route("json", RaceRule(mode="first_complete"), "sandbox/echo", "sandbox/json+stall-300ms"),
        route(
            "seldom",
            RaceRule(mode="hedge", delay_s=0.15),
            "sandbox/echo+stall-3s+each-50",
            "sandbox/echo",
        ),
    ]
    await races.give(running, [*drawn(7, SHAPES), *fixed], DEAR)
    yield running
    await running.close()
    assert running.stop() == 0, running.said()


async def ask(client: httpx.AsyncClient, model: str, **more: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json=chat(model, **more))


def words(answer: httpx.Response) -> str:
    """The text of an answer, streamed or not; what came of it."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return answer.json()["choices"][0]["message"]["content"]
    lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: {")]
    deltas = [choice["delta"] for line in lines for choice in json.loads(line).get("choices", ())]
    return "".join(delta.get("content") or "" for delta in deltas)


def ms(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() * 1000


async def raced(stack: Stack, number: int, seed: int, at_once: int = 8) -> tuple[int, list[float]]:
    """Check each answer, row and upstream call. Races won, and milliseconds until losers were closed."""
    draw, gate = random.Random(seed), asyncio.Semaphore(at_once)
    asked: dict[str, httpx.Response] = {}

    async def one(client: httpx.AsyncClient, model: str, stream: bool) -> None:
        async with gate:
            answer = await ask(client, model, stream=stream)
            asked[answer.headers["x-keyrail-request-id"]] = answer

    async with stack.http() as client:
        await asyncio.gather(*(one(client, f"race-{n % SHAPES}", draw.random() < 0.7) for n in range(number)))
    assert len(asked) == number
    async with asyncio.timeout(60):
        while True:
            calls = {call["client_request_id"]: call for call in await stack.sandbox_calls()}
            if not any(call["state"] == "running" for call in calls.values()):
                break
            await asyncio.sleep(0.1)
    rows = await stack.all_settled(calls)
    won, delays = 0, list[float]()
    for request_id, answer in asked.items():
        attempts = [row for row in rows.values() if row["request_id"] == request_id]
        if answer.headers.get("x-keyrail-race") is None and {row["role"] for row in attempts} == {"serve"}:
            continue  # an open breaker had left one target: nothing to race
        check(answer, attempts)
        won += answer.is_success
        delays += closing(answer, attempts, calls)
    return won, delays


def check(answer: httpx.Response, attempts: list[dict[str, Any]]) -> None:
    stood = by_standing(attempts)
    told = (
        answer.headers.get("x-keyrail-race"),
        [(r["model"], r["status"], r["standing"]) for r in attempts],
    )
    assert all(row["role"] in ("race", "hedge") for row in attempts), told
    assert len(stood.get("won", ())) <= 1, told
    if answer.is_success:
        (winner,) = stood["won"]
        assert f"winner=sandbox/{winner['model']};" in answer.headers["x-keyrail-race"]
        whole = words(answer) == TEN_WORDS
        assert whole or (winner["status"] == "failed" and '"error"' in answer.text), told
    else:
        assert "won" not in stood, told
    for row in stood.get("lost", ()):
        assert row["status"] in ("ok", "cancelled", "failed"), told


def closing(
    answer: httpx.Response, attempts: list[dict[str, Any]], calls: dict[str, dict[str, Any]]
) -> list[float]:
    """Milliseconds from the deciding moment until each cancelled loser's call was over at the provider."""
    winner = next((row for row in attempts if row["standing"] == "won"), None)
    if winner is None:
        return []
    by_content = answer.headers["x-keyrail-race"].startswith(("mode=first;", "mode=hedge;"))
    decided = ms(winner["started_at"]) + (winner["first_content_ms"] if by_content else winner["duration_ms"])
    found: list[float] = []
    for row in attempts:
        call = calls.get(row["attempt_id"])
        if row["standing"] == "lost" and row["status"] == "cancelled" and call is not None:
            assert call["state"] != "running", row
            found.append(call["ended_ms"] - max(decided, ms(row["started_at"])))
    return found


async def test_randomised_races_have_one_winner_and_a_row_for_each_loser(stack: Stack) -> None:
    won, delays = await raced(stack, SHAPES, seed=1)
    assert won > SHAPES / 4
    assert delays, "somebody was cancelled"


@pytest.mark.proof
@pytest.mark.timeout(1_200)
async def test_a_thousand_randomised_races(stack: Stack) -> None:
    won, late = 0, list[float]()
    for batch in range(5):  # the sandbox remembers its last 1,000 calls
        some, delays = await raced(stack, 200, seed=100 + batch)
        won, late = won + some, late + delays
    late.sort()
    print(f"{won} of 1000 served; {len(late)} losers cancelled, closed after at most {late[-1]:.0f} ms")
    assert won > 500
    assert late[-1] < 1_000


async def test_the_first_content_wins_and_the_loser_is_closed_at_once(stack: Stack) -> None:
    async with stack.http() as client:
        answer = await ask(client, "slow-first", stream=True)
    assert words(answer) == TEN_WORDS
    assert answer.headers["x-keyrail-race"] == "mode=first; winner=sandbox/echo; started=2"
    assert answer.headers["x-keyrail-attempts"] == "2"
    rows = await stack.settled(answer.headers["x-keyrail-request-id"], 2)
    stood = {row["standing"]: row for row in rows}
    assert stood["won"]["model"] == "echo"
    assert (stood["won"]["status"], stood["won"]["basis"]) == ("ok", "exact")
    assert (stood["lost"]["status"], stood["lost"]["detail"]) == ("cancelled", "race_lost")
    calls = {call["client_request_id"]: call for call in await stack.sandbox_calls()}
    assert calls[stood["lost"]["attempt_id"]]["state"] == "closed_by_client"


async def test_a_drained_loser_ends_by_itself_with_its_exact_usage(stack: Stack) -> None:
    async with stack.http() as client:
        answer = await ask(client, "drained", stream=True)
    assert words(answer) == TEN_WORDS
    rows = await stack.settled(answer.headers["x-keyrail-request-id"], 2, within_s=20)
    lost = next(row for row in rows if row["standing"] == "lost")
    assert (lost["status"], lost["basis"], lost["output_tokens"]) == ("ok", "exact", 10)


async def test_when_all_fail_the_client_hears_what_it_can_act_on(stack: Stack) -> None:
    async with stack.http() as client:
        answer = await ask(client, "all-fail")
    assert answer.status_code == 429
    assert answer.headers["x-keyrail-attempts"] == "2"
    rows = await stack.settled(answer.headers["x-keyrail-request-id"], 2)
    assert {row["standing"] for row in rows} == {None}


async def test_a_whole_answer_that_is_not_what_was_asked_for_does_not_win(stack: Stack) -> None:
    async with stack.http() as client:
        answer = await ask(client, "json", response_format=FORM)
    assert "winner=sandbox/json+stall-300ms;" in answer.headers["x-keyrail-race"]


async def test_a_client_that_leaves_ends_all_contenders(stack: Stack) -> None:
    async with stack.http() as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/chat/completions", json=chat("stalls", stream=True), timeout=1.0)
    until = time.monotonic() + 20
    while True:
        rows = [row for row in await stack.attempts() if row["route"] == "stalls"]
        if len(rows) == 2 and all(row["status"] == "cancelled" for row in rows):
            break
        assert time.monotonic() < until, rows
        await asyncio.sleep(0.2)


async def test_without_room_in_the_budget_for_losers_nobody_races(stack: Stack) -> None:
    """5% of what was served: the first request has nothing to race with, later ones too little."""
    async with stack.http() as client:
        for _ in range(3):
            answer = await ask(client, "dear", max_tokens=20)
            assert answer.headers["x-keyrail-race"].endswith("started=1")
        unbounded = await ask(client, "dear")
        assert unbounded.headers["x-keyrail-race"].endswith("started=1")
    rows = [row for row in await stack.attempts() if row["route"] == "dear"]
    assert {row["standing"] for row in rows} <= {"won", None}


async def hedged(stack: Stack, number: int) -> tuple[list[float], int]:
    """Seconds of each request, and how many attempts there were for them."""
    taken: list[float] = []
    async with stack.http() as client:
        for _ in range(number):
            began = time.monotonic()
            answer = await ask(client, "seldom", stream=True)
            assert words(answer) == TEN_WORDS
            taken.append(time.monotonic() - began)
    await stack.all_settled(())
    rows = [row for row in await stack.attempts() if row["route"] == "seldom"]
    return taken, len(rows)


async def test_a_hedge_takes_over_from_the_call_that_is_slow(stack: Stack) -> None:
    _, before = await hedged(stack, 0)
    _, after = await hedged(stack, 50)
    rows = [row for row in await stack.attempts() if row["route"] == "seldom"]
    assert any(row["role"] == "hedge" and row["standing"] == "won" for row in rows)
    assert after - before <= 50 * 1.3, "a hedge starts only where the first is slow"


@pytest.mark.proof
@pytest.mark.timeout(600)
async def test_hedging_halves_the_slowest_hundredth_at_few_extra_attempts(stack: Stack) -> None:
    _, before = await hedged(stack, 0)
    taken, after = await hedged(stack, 500)
    p99 = statistics.quantiles(taken, n=100)[98]
    extra = (after - before) / 500 - 1
    print(f"p99 {p99:.3f} s where the provider's is 3 s, {extra:.1%} extra attempts")
    assert p99 < 1.5
    assert extra <= 0.06


async def killed(stack: Stack, *services: str) -> None:
    """Kill one of each while contenders run that have said nothing yet: every client is served."""
    before = len([row for row in await stack.attempts() if row["route"] == "killed"])
    async with stack.http() as client:
        body = chat("killed", stream=True)
        asking = [asyncio.create_task(client.post("/v1/chat/completions", json=body)) for _ in range(6)]
        while len([r for r in await stack.attempts() if r["route"] == "killed"]) < before + 12:
            await asyncio.sleep(0.1)
        pids = [(service, stack.signal(service, signal.SIGKILL)) for service in services]
        answers = await asyncio.gather(*asking)
    assert [words(answer) for answer in answers] == [TEN_WORDS] * 6
    for service, pid in pids:
        await stack.replaced(service, pid)
    rows = await stack.all_settled(())
    for answer in answers:
        mine = [r for r in rows.values() if r["request_id"] == answer.headers["x-keyrail-request-id"]]
        assert sum(row["standing"] == "won" for row in mine) == 1
        assert all(row["status"] in ("ok", "cancelled", "lost") for row in mine)


async def test_a_racer_that_is_killed_costs_no_client_its_answer(stack: Stack) -> None:
    """Ingress gives its requests out again, and their contenders are cancelled."""
    await killed(stack, "racer")


@pytest.mark.proof
@pytest.mark.timeout(180)
async def test_a_racer_and_a_worker_that_are_killed_cost_no_client_its_answer(stack: Stack) -> None:
    await killed(stack, "racer", "provider-worker")
