"""The demo works, and says so only then."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import httpx2  # what the official client is built on
import openai
import pytest

from scripts import demo

ROOT = Path(__file__).parents[2]


async def test_the_demo_shows_every_step_and_leaves_nothing_running() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "scripts/demo.py"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    printed, _ = await process.communicate()  # returns only once no child holds the pipe any more
    text = printed.decode()
    assert process.returncode == 0, text
    assert "x-keyrail-attempts: 2" in text
    assert "17 pieces" in text
    assert "$ keyrail costs --by model" in text
    assert "$ keyrail requests show 0" in text
    assert "all steps did what they say" in text


def answering(headers: dict[str, str], content: str = demo.TEXT) -> openai.OpenAI:
    """A client of a gateway that answers every question like this."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "echo", "choices": [choice]}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=body, headers=headers))
    return openai.OpenAI(
        base_url="http://demo.invalid/v1", api_key="x", http_client=httpx2.Client(transport=transport)
    )


GOOD = {"x-keyrail-attempts": "2", "x-keyrail-model": "echo", "x-keyrail-request-id": "7"}


def test_a_fallback_that_did_not_happen_fails_the_demo() -> None:
    with answering(GOOD) as client:
        assert demo.step_fallback(client) == "7"
    for wrong in ({"x-keyrail-attempts": "1"}, {"x-keyrail-model": "status-429"}):
        with answering(GOOD | wrong) as client, pytest.raises(demo.DemoFailed):
            demo.step_fallback(client)
    with answering(GOOD, "something else") as client, pytest.raises(demo.DemoFailed, match="something else"):
        demo.step_fallback(client)


def test_a_stack_that_does_not_start_fails_the_demo_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keyrail = tmp_path / "keyrail"
    keyrail.write_text("#!/bin/sh\necho no room for another stack\nexit 3\n")
    keyrail.chmod(0o700)
    monkeypatch.setattr(demo, "BIN", tmp_path)
    assert demo.main() == 1
    said = capsys.readouterr().err
    assert "demo failed: " in said
    assert "ended with 3" in said
    assert "no room for another stack" in said
