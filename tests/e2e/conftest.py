from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.sandbox_process import running as running_sandbox
from support.stack import Stack

CONFIG = """
providers:
  nobody: {dialect: openai-chat, base_url: "http://127.0.0.1:1/v1"}  # nothing listens there
routes:
  after-429: {strategy: fallback, targets: [sandbox/status-429+retry-after-0, sandbox/echo]}
  after-500: {strategy: fallback, targets: [sandbox/status-500, sandbox/echo]}
  after-503: {strategy: fallback, targets: [sandbox/status-503+retry-after-0, sandbox/echo]}
  after-400: {strategy: fallback, targets: [sandbox/status-400, sandbox/echo]}
  after-garbage: {strategy: fallback, targets: [sandbox/garbage, sandbox/echo]}
  after-error-200: {strategy: fallback, targets: [sandbox/error-200, sandbox/echo]}
  after-empty: {strategy: fallback, targets: [sandbox/empty, sandbox/echo]}
  after-cut-0: {strategy: fallback, targets: [sandbox/cut-0, sandbox/echo]}
  after-hang:
    strategy: fallback
    targets: [sandbox/hang, sandbox/echo]
    timeouts: {connect: 1, first_byte: 0.3}
  after-nobody: {strategy: fallback, targets: [nobody/echo, sandbox/echo]}
  after-no-key: {strategy: fallback, targets: [groq/llama-3.3-70b-versatile, sandbox/echo]}
  only-hang:
    targets: [sandbox/hang]
    timeouts: {connect: 1, first_byte: 0.3}
  stops-between-chunks:
    targets: [sandbox/slow-2s]
    timeouts: {between_chunks: 0.5}
  takes-too-long:
    targets: [sandbox/chunks-100+slow-50ms]
    timeouts: {total: 1}
  twice-429: {strategy: fallback, targets: [sandbox/status-429, sandbox/status-429]}
  split:
    strategy: weighted
    targets: [{model: sandbox/echo, weight: 3}, {model: sandbox/metered, weight: 1}]
  goes-on:
    strategy: fallback
    mid_stream: continue
    targets:
      - sandbox/cut-4
      - {model: sandbox/status-500+stall-2ms, prefill: true}
      - {model: sandbox/echo, prefill: true}
  goes-on-twice:
    strategy: fallback
    mid_stream: continue
    targets: [sandbox/cut-3, {model: sandbox/cut-2, prefill: true}, {model: sandbox/echo, prefill: true}]
  nobody-goes-on: {strategy: fallback, mid_stream: continue, targets: [sandbox/cut-4, sandbox/echo]}
  breaks-off-in-a-call:
    strategy: fallback
    mid_stream: continue
    targets: [sandbox/tools+cut-2, {model: sandbox/echo, prefill: true}]
aliases:
  claude-sonnet-5-5: sandbox/echo
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack that tests use and none harms."""
    running = Stack(tmp_path_factory.mktemp("stack") / "home", CONFIG)
    await running.start()
    yield running
    await running.close()
    assert running.stop() == 0, running.said()


@pytest.fixture
async def make_stack(tmp_path: Path) -> AsyncIterator[Callable[..., Stack]]:
    """Stacks of the test's own, killed as they please; stopped at the end."""
    made: list[Stack] = []

    def make(text: str = "", **options: Any) -> Stack:
        made.append(Stack(tmp_path / f"home{len(made)}", text, **options))
        return made[-1]

    yield make
    for stack in made:
        await stack.close()
        if stack.process is not None:
            stack.stop()


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    """A sandbox of the tests' own, to be declared as a provider of any dialect."""
    with running_sandbox() as sandbox:
        yield sandbox.url
