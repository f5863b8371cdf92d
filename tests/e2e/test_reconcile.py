"""A running stack tied out against a report: what the provider served, and one call that went past it."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from support.stack import Stack, chat

CONFIG = """
providers:
  bank:
    base_url: {url}/v1
    needs_key: true
    prices:
      echo: {{input: 3, output: 15}}
      full: {{input: 0.7, output: 2.1}}
"""
RATES = {"echo": (3, 15), "full": (Decimal("0.7"), Decimal("2.1"))}
HEADING = "day,key,model,requests,input_tokens,output_tokens,cost_usd"


async def used(stack: Stack) -> list[dict[str, Any]]:
    """Ten calls that the provider served, each with its usage."""
    found: list[dict[str, Any]] = []
    async with stack.http() as client:
        for number in range(10):
            model = ("echo", "full")[number % 2]
            answer = await client.post(
                "/v1/chat/completions", json=chat(f"bank/{model}", "count these words " * (number + 1))
            )
            assert answer.status_code == 200, answer.text
            found.append({"model": model, **answer.json()["usage"]})
            (attempt,) = await stack.settled(answer.headers["x-keyrail-request-id"])
            found[-1]["day"] = attempt["started_at"][:10]
    return found


def report(calls: list[dict[str, Any]]) -> str:
    """What such calls cost by the price list, summed here."""
    sums: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for call in calls:
        sums[call["day"], call["model"]].append((call["prompt_tokens"], call["completion_tokens"]))
    rows: list[str] = [HEADING]
    for (day, model), tokens in sums.items():
        prompt, answer = (sum(each[index] for each in tokens) for index in (0, 1))
        cost = (prompt * RATES[model][0] + answer * RATES[model][1]) / Decimal(1_000_000)
        rows.append(f"{day},main,{model},{len(tokens)},{prompt},{answer},{cost:f}")
    return "\n".join(rows) + "\n"


async def test_the_ledger_ties_out_until_a_call_goes_past_the_gateway(
    make_stack: Callable[..., Stack], sandbox_url: str, tmp_path: Path
) -> None:
    stack = await make_stack(CONFIG.format(url=sandbox_url)).start()
    assert stack.cli("keys", "add", "bank", "--id", "main", given="sk-bank").returncode == 0
    calls = await used(stack)
    days = sorted({call["day"] for call in calls})
    file = tmp_path / "bank.csv"
    command = ["reconcile", "bank", "--from", days[0], "--to", days[-1], "--file", str(file), "--json"]

    file.write_text(report(calls))
    whole = await asyncio.to_thread(stack.cli, *command, "--tolerance", "0")
    assert whole.returncode == 0, whole.stderr
    total = json.loads(whole.stdout)["total"]
    assert (total["tied_share"], total["explained_share"], total["by_class"]) == ("1", "1", [])

    async with httpx.AsyncClient(trust_env=False) as past:  # the same account, without the gateway
        answer = await past.post(
            f"{sandbox_url}/v1/chat/completions",
            json=chat("echo", "a call that nobody accounted for"),
            headers={"authorization": "Bearer sk-bank"},
        )
    usage = answer.json()["usage"]
    outside = (usage["prompt_tokens"] * 3 + usage["completion_tokens"] * 15) / Decimal(1_000_000)
    file.write_text(report([*calls, {"model": "echo", "day": days[-1], **usage}]))
    found = json.loads((await asyncio.to_thread(stack.cli, *command)).stdout)
    (part,) = found["total"]["by_class"]
    assert (part["class"], part["buckets"], Decimal(part["usd"])) == ("outside", 1, outside)
    assert found["total"]["explained_share"] == "1"
    assert Decimal(found["total"]["tied_share"]) < 1
    again = await asyncio.to_thread(
        stack.cli, *[each for each in command if each not in ("--file", str(file))]
    )
    assert json.loads(again.stdout)["total"] == found["total"]
    shown = await asyncio.to_thread(stack.cli, *command[:-1])
    assert "calls outside the gateway" in shown.stdout, shown.stderr
