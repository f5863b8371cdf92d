"""The official SDK's own tests, against a mock and through the gateway: what passes there passes here.

The mock (steady) holds every request against a document written from the SDK's types, and refuses what
breaks it.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from support import npm, openai_suite, sdk_spec
from support.nats import free_port
from support.openai_suite import Suite
from support.recorder import recording
from support.stack import Stack

CONFIG = """
providers: {{openai: {{base_url: "{mock}/v1"}}}}
aliases: {{gpt-6-astra: openai/gpt-6-astra}}
"""
STORED = "nothing is stored, so nothing can be fetched, listed, changed, cancelled or deleted"
NOT_SERVED = {
    r"chat\.completions\.test_messages\.": STORED,
    r"chat\.test_completions\..*_(retrieve|update|list|delete)\b": STORED,
    r"chat\.test_completions\..*_list_with_all_params": STORED,
    r"test_models\..*_delete\b": "models are the provider's: a gateway doesn't delete them",
    r"test_responses\..*_(retrieve|delete|cancel)\b": STORED,
    r"test_responses\..*_retrieve_(with_all_params_)?overload": STORED,
    r"test_responses\..*_compact": "conversations aren't compacted",
    r"test_responses\..*_create_with_all_params": "refers to what is stored",
    r"test_responses\..*_create_overload": "names no model, and a gateway routes by the model",
    r"responses\.test_input_items\.": STORED,
    r"responses\.test_input_tokens\.": "tokens aren't counted before a request",
}
"""Tests that pass directly and not through the gateway, and why: exactly these."""

CREATES = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings")
CHANGED = {
    ("/v1/responses", "store", "-", "false"): "the provider is told to store nothing",
    ("/v1/responses", "store", "true", "false"): "the provider is told to store nothing",
    ("/v1/chat/completions", "stream_options", "-", '{"include_usage": true}'): "a stream's usage is billed",
}
"""What the gateway changes on purpose of what it passes on, and why: exactly this."""

EVERY = "not amended or create"
FEW = "strict and not Async and method and (create or models)"


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The mock's URL."""
    folder = npm.installed("steady", tmp_path_factory.mktemp("steady"))
    document = folder / "openapi.json"
    document.write_text(json.dumps(sdk_spec.document()))
    port = free_port()
    brackets = [f"--validator-query-{kind}-format=brackets" for kind in ("array", "object")]
    binary = folder / "node_modules" / ".bin" / "steady"
    process = subprocess.Popen(
        [str(binary), "-p", str(port), "--reject-on-sdk-error", "--log=false", *brackets, str(document)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return openai_suite.installed(tmp_path_factory.mktemp("suite"))


async def healthy(url: str) -> None:
    async with asyncio.timeout(15), httpx.AsyncClient(base_url=url) as client:
        while True:
            try:
                if (await client.get("/_x-steady/health")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.02)


def reason(name: str) -> str | None:
    """Why a test is expected to fail through the gateway. The SDK itself refuses an empty id."""
    if ".test_path_params_" in name:
        return None
    return next((why for pattern, why in NOT_SERVED.items() if re.search(pattern, name)), None)


async def compare(suite: Suite, mock: str, stack: Callable[..., Stack], select: str) -> None:
    await healthy(mock)
    async with recording(mock) as (url, recorder):
        direct = await suite.run(f"{url}/v1", "sk-direct", select)
        sent = recorder.seen.copy()
        recorder.seen.clear()
        gateway = await stack(CONFIG.format(mock=url), environment={"OPENAI_API_KEY": "sk-mock"}).start()
        through = await suite.run(f"{gateway.url}/v1", gateway.key, select)
    passed = {name for name, good in direct.items() if good}
    lost = {name for name in passed if not through[name]}
    print(f"\n{len(direct)} tests: {len(passed)} pass directly, {sum(through.values())} through Keyrail")
    for why, count in Counter(reason(name) for name in lost).items():
        print(f"  {count:4} not: {why}")
    assert direct.keys() == through.keys()
    assert {name for name in direct if not direct[name]} == set()
    assert lost == {name for name in passed if reason(name)}
    assert {path for path, _ in recorder.seen} >= set(CREATES)
    assert changes(sent, recorder.seen) == CHANGED.keys()


def changes(
    sent: Counter[tuple[str, str]], arrived: Counter[tuple[str, str]]
) -> set[tuple[str, str, str, str]]:
    """Path, parameter, what the SDK sends directly and what arrived instead (`-` is nothing).

    Each arrived body that was not sent directly is held against the most like it that was.
    """
    left = [(path, json.loads(body)) for path, body in (arrived - sent).elements() if path in CREATES]
    direct = [(path, json.loads(body)) for path, body in (sent - arrived).elements()]
    found: set[tuple[str, str, str, str]] = set()
    for path, body in left:
        candidates = [differing(other, body) for where, other in direct if where == path]
        assert candidates, f"a body arrived at {path} that nobody sent: {body}"
        found |= {(path, *change) for change in min(candidates, key=len)}
    return found


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str]]:
    def shown(body: dict[str, Any], name: str) -> str:
        return json.dumps(body[name], sort_keys=True) if name in body else "-"

    names = sorted(before.keys() | after.keys())
    found = [(name, shown(before, name), shown(after, name)) for name in names]
    return [change for change in found if change[1] != change[2]]


@pytest.mark.timeout(240)
async def test_what_the_sdks_tests_create_directly_they_create_through_the_gateway(
    suite: Suite, mock: str, make_stack: Callable[..., Stack]
) -> None:
    await compare(suite, mock, make_stack, FEW)


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_every_test_of_the_sdk_that_passes_directly_passes_through_the_gateway(
    suite: Suite, mock: str, make_stack: Callable[..., Stack]
) -> None:
    await compare(suite, mock, make_stack, EVERY)
