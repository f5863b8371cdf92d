"""What is measured: how each target is started on the mock, found, and stopped."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.children import accepts, answers_200, free_port, running
from bench.cpu import Process, tree
from bench.ledger import Ledger, NoLedger
from bench.mock import EVENTS
from bench.settings import Settings, child_environment

CHAT = "/v1/chat/completions"
UPSTREAM_KEY = "sk-bench"
MODEL = "gpt-5.4-mini"


@dataclass(frozen=True, slots=True)
class Target:
    """A target that runs. `processes` finds what its CPU is counted by; `ledger` knows what it has booked.

    `exact_events`: how many events a stream must have; None for those that re-cut streams.
    `ours`: its errors fail the benchmark; those of others are findings.
    """

    name: str
    url: str
    headers: dict[str, str]
    model: str
    processes: Callable[[], list[Process]]
    ledger: Ledger | NoLedger
    exact_events: int | None = None
    ours: bool = False


@contextmanager
def upstream(folder: Path) -> Generator[tuple[int, Process]]:
    """The mock for the time of the block: its port and process."""
    log = folder / "mock.log"
    command = [sys.executable, "-m", "bench.mock"]
    with running(command, child_environment(folder), log) as child:
        child.wait_until(lambda: log.read_text().endswith("\n"), "mock", 10)
        yield int(log.read_text().split()[0]), Process("mock", child.pid)


@contextmanager
def direct(mock: int, process: Process) -> Generator[Target]:
    """No gateway at all. Its process is the mock."""
    yield Target(
        name="direct",
        url=f"http://127.0.0.1:{mock}{CHAT}",
        headers={"authorization": f"Bearer {UPSTREAM_KEY}"},
        model=MODEL,
        processes=lambda: [process],
        ledger=NoLedger(),
        exact_events=EVENTS,
        ours=True,
    )


KEYRAIL = (str(Path(sys.executable).parent / "keyrail"),)
KEYRAIL_CONFIG = """\
providers:
  openai: {{base_url: "http://127.0.0.1:{mock}/v1"}}
  bench: {{dialect: openai-chat, base_url: "http://127.0.0.1:{mock}/v1"}}
"""


def keyrail_processes(run_json: str, supervisor: int) -> list[Process]:
    """The processes that run.json names, with what each of them started, and the supervisor with the rest."""
    found = [
        Process(entry["service"], pid)
        for entry in json.loads(run_json)["processes"]
        for pid in tree(entry["pid"])
    ]
    known = {process.pid for process in found}
    return [*found, *(Process("supervisor", pid) for pid in tree(supervisor) if pid not in known)]


@contextmanager
def keyrail(
    mock: int, folder: Path, command: tuple[str, ...] = KEYRAIL, more_config: str = ""
) -> Generator[Target]:
    """The embedded stack, accounting on, with a model whose price is known."""
    home, config, port = folder / "home", folder / "keyrail.yaml", free_port()
    home.mkdir()
    config.write_text(KEYRAIL_CONFIG.format(mock=mock) + more_config)
    environment = child_environment(
        folder,
        KEYRAIL_HOME=str(home),
        KEYRAIL_PORT=str(port),
        KEYRAIL_CONFIG=str(config),
        OPENAI_API_KEY=UPSTREAM_KEY,
    )
    with running([*command, "up"], environment, folder / "keyrail.log") as child:
        ready = home / "run.json"
        child.wait_until(lambda: answers_200(port, "/readyz") and ready.exists(), "keyrail", 60)
        key = (home / "default.key").read_text().strip()
        yield Target(
            name="keyrail",
            url=f"http://127.0.0.1:{port}{CHAT}",
            headers={"authorization": f"Bearer {key}"},
            model=f"openai/{MODEL}",
            processes=lambda: keyrail_processes((home / "run.json").read_text(), child.pid),
            ledger=Ledger([*command, "costs", "--json"], environment),
            exact_events=EVENTS,
            ours=True,
        )


LITELLM_CONFIG = """\
model_list:
  - model_name: {model}
    litellm_params: {{model: "openai/{model}", api_base: "http://127.0.0.1:{mock}/v1", api_key: {key}}}
litellm_settings: {{telemetry: false}}
"""


@contextmanager
def litellm(mock: int, folder: Path, python: Path) -> Generator[Target]:
    """LiteLLM's proxy: one worker, no database, telemetry off, its master key as the client's key."""
    config, port, key = folder / "litellm.yaml", free_port(), f"sk-{secrets.token_hex(16)}"
    config.write_text(LITELLM_CONFIG.format(model=MODEL, mock=mock, key=UPSTREAM_KEY))
    environment = child_environment(
        folder,
        LITELLM_MASTER_KEY=key,
        LITELLM_LOCAL_MODEL_COST_MAP="True",  # else it fetches prices from the network
        LITELLM_LOG="ERROR",
    )
    where = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    command = [str(python), "-m", "litellm.proxy.proxy_cli", *where]
    with running(command, environment, folder / "litellm.log") as child:
        child.wait_until(lambda: answers_200(port, "/health/readiness"), "litellm", 90)
        yield Target(
            name="litellm",
            url=f"http://127.0.0.1:{port}{CHAT}",
            headers={"authorization": f"Bearer {key}"},
            model=MODEL,
            processes=lambda: [Process("litellm", pid) for pid in tree(child.pid)],
            ledger=NoLedger(),
        )


@contextmanager
def portkey(mock: int, folder: Path, installed: Path) -> Generator[Target]:
    """Portkey's gateway on Node, told by headers where to go."""
    port = free_port()
    script = installed / "node_modules/@portkey-ai/gateway/build/start-server.js"
    environment = child_environment(folder, NODE_ENV="production")
    command = ["node", str(script), f"--port={port}", "--headless"]
    with running(command, environment, folder / "portkey.log") as child:
        child.wait_until(lambda: accepts(port), "portkey", 60)
        yield Target(
            name="portkey",
            url=f"http://127.0.0.1:{port}{CHAT}",
            headers={
                "authorization": f"Bearer {UPSTREAM_KEY}",
                "x-portkey-provider": "openai",
                "x-portkey-custom-host": f"http://127.0.0.1:{mock}/v1",
            },
            model=MODEL,
            processes=lambda: [Process("portkey", pid) for pid in tree(child.pid)],
            ledger=NoLedger(),
        )


def missing(name: str, settings: Settings) -> str | None:
    """Why a peer can't be measured here; None when it can."""
    if name == "litellm" and settings.litellm_python is None:
        return "BENCH_LITELLM_PYTHON is not set (the python of a venv that has litellm[proxy])"
    if name == "portkey" and settings.portkey_dir is None:
        return "BENCH_PORTKEY_DIR is not set (a folder where npm installed @portkey-ai/gateway)"
    return None


NAMES = ("direct", "keyrail", "litellm", "portkey")


@contextmanager
def start(name: str, mock: int, process: Process, folder: Path, settings: Settings) -> Generator[Target]:
    """The named target, running on the mock, for the time of the block. Raises StartError."""
    folder.mkdir()
    if name == "direct":
        chosen = direct(mock, process)
    elif name == "keyrail":
        chosen = keyrail(mock, folder)
    elif name == "litellm":
        assert settings.litellm_python is not None
        chosen = litellm(mock, folder, settings.litellm_python)
    else:
        assert settings.portkey_dir is not None
        chosen = portkey(mock, folder, settings.portkey_dir)
    with chosen as target:
        yield target
