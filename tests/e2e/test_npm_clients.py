"""Official clients from npm, as they come: openai, @anthropic-ai/sdk and Vercel's ai, on providers of every
dialect."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from support import npm
from support.stack import Stack

CONFIG = """
providers:
  messages: {{base_url: "{sandbox}", dialect: anthropic-messages, auth: none}}
  gemini-like: {{base_url: "{sandbox}/v1beta", dialect: gemini-generate, auth: none}}
  responses: {{base_url: "{sandbox}/v1", dialect: openai-responses, auth: none}}
"""
PROVIDERS = ("sandbox", "messages", "gemini-like", "responses")
ENDS = {
    "openai chat": ("stop", "tool_calls", "stop"),
    "openai responses": ("completed", "completed", "completed"),
    "anthropic messages": ("end_turn", "tool_use", "end_turn"),
    "ai openai chat": ("stop", "tool-calls", "stop"),
    "ai openai responses": ("stop", "tool-calls", "stop"),
    "ai anthropic": ("stop", "tool-calls", "stop"),
}


@pytest.mark.proof
@pytest.mark.timeout(240)
async def test_clients_from_npm_work_with_every_dialect(
    make_stack: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory, sandbox_url: str
) -> None:
    if shutil.which("node") is None:
        pytest.skip("NOT TESTED with clients from npm: there is no node on this machine")
    folder = await asyncio.to_thread(npm.installed, "npm-clients", tmp_path_factory.mktemp("npm"))
    stack = await make_stack(CONFIG.format(sandbox=sandbox_url)).start()
    process = await asyncio.create_subprocess_exec(
        "node", str(folder / "run.mjs"), stack.url, stack.key, *PROVIDERS, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(output)
    assert {name: result for name, result in found.items() if "error" in str(result)} == {}
    for provider in PROVIDERS:
        for client, (end, calls, then) in ENDS.items():
            answer, stream, tools = (
                found[f"{provider}: {client}: {kind}"] for kind in ("answer", "stream", "tools")
            )
            assert (answer["text"], answer["end"]) == ("one two three", end), (provider, client)
            assert answer["input"] > 0 < answer["output"]
            assert stream == {"text": "one two three", "same": True, "end": end}, (provider, client)
            assert tools == {"name": "weather", "typed": "string", "end": calls, "then": then}, (
                provider,
                client,
            )
    assert found["embeddings"]["openai"] == found["embeddings"]["ai"] > 0
    assert found["tokens"] > 0
    assert found["models"]["openai"] > 0 < found["models"]["anthropic"]
