"""Prices set, attempts priced again and elsewhere, by the command line on a running stack."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.stack import Stack, chat

pytestmark = pytest.mark.timeout(300)

CONFIG = """\
# whom we call
providers:
  mine: {{base_url: '{url}', needs_key: false}}  # on this machine

routes:
  fast: {{targets: [mine/echo]}}
"""
PER = Decimal(1_000_000)


def done(stack: Stack, text: str) -> str:
    result = stack.cli(*text.split())
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def asked(stack: Stack, text: str) -> Any:
    return json.loads(done(stack, f"{text} --json"))


def refused(stack: Stack, text: str) -> str:
    result = stack.cli(*text.split())
    assert result.returncode == 1, result
    return result.stderr


async def looked(stack: Stack, text: str, ready: Callable[[Any], bool]) -> Any:
    """Once cost-accounting has followed the last revision, which it does within moments."""
    async with asyncio.timeout(20):
        while not ready(found := asked(stack, text)):
            await asyncio.sleep(0.05)
    return found


async def test_a_price_is_set_and_the_past_is_priced_by_it(
    make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    stack = await make_stack().start()
    text = CONFIG.format(url=stack.run_file()["sandbox_url"])
    file = tmp_path / "keyrail.yaml"
    file.write_text(text)
    done(stack, f"config apply {file}")
    async with stack.http() as client:
        for size in (1, 20, 300):
            answer = await client.post("/v1/chat/completions", json=chat("mine/echo", "word " * size))
            assert answer.status_code == 200
            await stack.settled(answer.headers["x-keyrail-request-id"])
    rows = asked(stack, "attempts")
    tokens = [(row["input_tokens"], row["output_tokens"]) for row in rows]
    assert [row["cost_usd"] for row in rows] == [None, None, None]
    (listed,) = asked(stack, "prices list mine")
    assert (listed["model"], listed["source"], listed["input"]) == ("echo", None, None)

    assert "without --dry-run" in done(stack, "prices set mine/echo --input 2 --output 8 --dry-run")
    assert asked(stack, "config show")["text"] == text
    said = done(stack, "prices set mine/echo --input 2 --output 8")
    assert "+  mine: {base_url:" in said
    assert "config show > keyrail.yaml" in said
    assert file.read_text() == text
    new = text.replace("false}", "false, prices: {echo: {input: 2, output: 8}}}")
    assert asked(stack, "config show")["text"] == new
    assert "says the same" in done(stack, "prices set mine/echo --input 2 --output 8")
    (listed,) = asked(stack, "prices list mine/echo")
    assert (listed["source"], listed["input"], listed["output"]) == ("configured", "2", "8")
    assert "mine" in done(stack, "prices list")

    found = await looked(stack, "reprice --since 1h --dry-run", lambda told: told["models"][0]["changed"])
    (model,) = found["models"]
    wanted = sum(Decimal(2 * given + 8 * made) / PER for given, made in tokens)
    assert (model["attempts"], model["changed"], model["newly_known"]) == (3, 3, 3)
    assert Decimal(model["new_usd"]) == wanted
    assert "say --yes" in refused(stack, "reprice --since 1h")
    assert asked(stack, "costs")[0]["unknown_cost_attempts"] == 3
    assert "3 attempts have their new price" in done(stack, "reprice --since 1h --yes")
    assert Decimal(asked(stack, "costs")[0]["cost_usd"]) == wanted
    assert asked(stack, "reprice --since 1h --yes")["written"] == 0
    assert "since" in refused(stack, "reprice --since yesterday --dry-run")

    past = await looked(stack, "prices history mine/echo", bool)
    assert [(row["revision"], row["input"]) for row in past] == [
        (asked(stack, "config show")["revision"], "2")
    ]
    assert "revision" in done(stack, "prices history mine/echo")
    assert [row["since"] for row in asked(stack, "prices history gemini/gemini-4-argon")] == [
        None,
        "2026-12-01",
    ]
    assert "no such provider" in refused(stack, "prices set nobody/x --input 1 --output 1")

    what_ifs(stack, tmp_path, text, tokens)


def what_ifs(stack: Stack, tmp_path: Path, text: str, tokens: list[tuple[int, int]]) -> None:
    """Nothing of it is written."""
    before = asked(stack, "attempts")
    contract = tmp_path / "offer.yaml"
    contract.write_text(text.replace("false}", "false, prices: {echo: {input: 1, output: 4}}}"))
    told = asked(stack, f"whatif --contract {contract} --since 1h")
    assert Decimal(told["total"]["what_if_usd"]) * 2 == Decimal(told["total"]["actual_usd"]) > 0
    told = asked(stack, "whatif --model openai/gpt-5.4-mini --since 1h")
    wanted = sum((Decimal("0.75") * given + Decimal("4.5") * made) / PER for given, made in tokens)
    assert Decimal(told["total"]["what_if_usd"]) == wanted
    assert told["total"]["compared"] == 3
    shown = done(stack, "whatif --model openai/gpt-5.4-mini --since 1h")
    assert "counts the same text as other tokens" in shown
    assert "there are no attempts" in done(stack, "whatif --model mine/echo --since 1h --route fast")
    contract.write_text("providers: {mine: {nonsense: 1}}\n")
    assert refused(stack, f"whatif --contract {contract} --since 1h").startswith(f"{contract}:1: ")
    assert "no such provider" in refused(stack, "whatif --model nobody/x --since 1h")
    assert asked(stack, "attempts") == before
