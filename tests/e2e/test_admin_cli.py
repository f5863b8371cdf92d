"""Every command of the administrator on a running stack, as a person types it or a script calls it."""

from __future__ import annotations

import json
import os
import pty
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from support.stack import BIN, Stack, chat

pytestmark = pytest.mark.timeout(150)

VALUE = "sk-canary-of-the-command-line-77aa0b"
CONFIG = """
routes:
  fast: {targets: [sandbox/echo]}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack of this module's own: its configuration and keys are changed."""
    running = Stack(tmp_path_factory.mktemp("admin") / "home", CONFIG)
    try:
        yield await running.start()
    finally:
        await running.close()
        code = running.stop()
    assert code == 0, running.said()


def done(stack: Stack, text: str, given: str = "") -> str:
    """What a command prints when all goes well."""
    result = stack.cli(*text.split(), given=given)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def asked(stack: Stack, text: str, given: str = "") -> Any:
    """The same as JSON."""
    return json.loads(done(stack, f"{text} --json", given))


def refused(stack: Stack, text: str, given: str = "", code: int = 1) -> str:
    result = stack.cli(*text.split(), given=given)
    assert result.returncode == code, result
    if code == 1:
        assert result.stderr.startswith("keyrail: ")
        assert result.stderr.count("\n") == 1
    return result.stderr


def status(stack: Stack, key: str, model: str = "sandbox/echo") -> int:
    """What becomes of a request with this virtual key."""
    answer = httpx.post(
        f"{stack.url}/v1/chat/completions",
        json=chat(model),
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
    )
    return answer.status_code


def becomes(stack: Stack, key: str, wanted: int) -> None:
    """Soon: what control says is at every ingress within milliseconds, but for a busy machine."""
    until = time.monotonic() + 10
    while (found := status(stack, key)) != wanted:
        assert time.monotonic() < until, found


def test_a_provider_key_from_its_first_day_to_its_last(stack: Stack) -> None:
    assert done(stack, "keys add openai --id main --weight 2", f"{VALUE}\n") == "added default/openai/main\n"
    (row,) = asked(stack, "keys list openai")
    assert (row["id"], row["weight"], row["version"], row["state"]) == ("main", 2, 1, "ok")
    assert "there is a key" in refused(stack, "keys add openai --id main", VALUE)
    assert asked(stack, "providers")[0].keys() >= {"provider", "key"}
    assert next(p for p in asked(stack, "providers") if p["provider"] == "openai")["key"] == "yes"

    assert (
        done(stack, "keys rotate openai --id main", f"{VALUE}-2")
        == "rotated default/openai/main: version 2\n"
    )
    rotated = asked(stack, "keys rotate openai --id main --weight 3", f"{VALUE}-3")
    assert (rotated["version"], rotated["weight"]) == (3, 3)
    assert "there is no" in refused(stack, "keys rotate openai --id other", VALUE)
    assert "default/openai/main" in done(stack, "keys revoke openai --id main")
    assert asked(stack, "keys list") == []
    assert "there is no" in refused(stack, "keys revoke openai --id main")
    assert "none of this name" in refused(stack, "keys add nobody --id main", VALUE)


def test_a_value_that_is_typed_is_not_shown(stack: Stack) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        home = {"PATH": os.environ["PATH"], "KEYRAIL_HOME": str(stack.home)}
        os.execve(BIN / "keyrail", ["keyrail", "keys", "add", "groq", "--id", "typed"], home)
    said = b""
    while b"(not shown): " not in said:
        said += os.read(terminal, 1024)
    os.write(terminal, f"{VALUE}\n".encode())
    while b"added default/groq/typed" not in said:
        said += os.read(terminal, 1024)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert VALUE.encode() not in said
    done(stack, "keys revoke groq --id typed")


def test_a_key_is_tested_by_its_exit_status(stack: Stack) -> None:
    """Nothing is listening where this provider should be."""
    config = CONFIG + "providers:\n  dead: {base_url: 'http://127.0.0.1:9/v1'}\n"
    file = stack.home.parent / "dead.yaml"
    file.write_text(config)
    done(stack, f"config apply {file}")
    done(stack, "keys add dead --id main", VALUE)
    said = refused(stack, "keys test dead --id main")
    assert "default/dead/main" in said
    assert VALUE not in said
    done(stack, "keys revoke dead --id main")
    assert "there is no" in refused(stack, "keys test dead --id main")


@pytest.mark.parametrize(
    "text",
    [f"keys add openai {VALUE} --id main", f"keys add openai --id main --value={VALUE}", f"keys {VALUE}"],
)
def test_a_value_as_an_argument_is_refused_and_not_repeated(stack: Stack, text: str) -> None:
    result = stack.cli(*text.split())
    assert result.returncode == 2
    assert VALUE not in result.stdout + result.stderr


def test_a_virtual_key_from_its_first_day_to_its_last(stack: Stack) -> None:
    text = "tokens issue --team search --models fast,sandbox/* --rpm 1k --budget 10/day --expires 30d"
    issued = asked(stack, text)
    id, key = issued["id"], issued["key"]
    assert key.startswith(f"kr_{id}_")
    assert issued["models"] == ["fast", "sandbox/*"]
    assert issued["budgets"] == ["10/day"]
    becomes(stack, key, 200)

    (row,) = [row for row in asked(stack, "tokens list") if row["id"] == id]
    assert "key" not in row
    assert (row["team"], row["rpm"], row["revoked"]) == ("search", 1000, False)
    assert id in done(stack, "tokens list")

    new = asked(stack, f"tokens rotate {id} --overlap 1h")
    assert new["id"] == id
    becomes(stack, new["key"], 200)
    assert done(stack, f"tokens revoke {id}") == f"revoked virtual key {id}\n"
    becomes(stack, new["key"], 401)
    becomes(stack, key, 401)
    assert "there is no" in refused(stack, "tokens revoke 00000000")

    first, second = done(stack, "tokens issue").splitlines()
    assert "shown this once" in first
    becomes(stack, second, 200)
    assert "budget" in refused(stack, "tokens issue --budget lots")
    assert "expires" in refused(stack, "tokens issue --expires someday")


def test_a_configuration_is_checked_applied_shown_and_gone_back_to(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "keyrail.yaml"
    before = asked(stack, "config show")
    file.write_text(CONFIG.replace("fast:", "faster:"))
    assert done(stack, f"config check {file}") == f"{file}: nothing is wrong\n"
    applied = asked(stack, f"config apply {file}")
    assert applied == {"revision": before["revision"] + 1, "changed": True}
    assert "nothing changed" in done(stack, f"config apply {file}")
    shown = stack.cli("config", "show")
    assert shown.stdout == file.read_text()
    becomes(stack, stack.key, 200)
    until = time.monotonic() + 15
    while status(stack, stack.key, "faster") != 200:
        assert time.monotonic() < until

    newest, older = asked(stack, "config history")[:2]
    assert (newest["revision"], older["revision"]) == (applied["revision"], before["revision"])
    back = asked(stack, f"config rollback {before['revision']}")
    assert back["from_revision"] == before["revision"]
    assert asked(stack, "config show")["text"] == before["text"]
    assert str(back["revision"]) in done(stack, "config history").splitlines()[1]
    assert "revision" in refused(stack, "config rollback 9999")

    file.write_text("routes:\n  fast: {targets: [nobody/x]}\n")
    for verb in ("check", "apply"):
        result = stack.cli("config", verb, str(file))
        assert result.returncode == 1
        assert result.stderr.startswith(f"{file}:2: ")


def test_budgets_and_alerts_are_told(stack: Stack) -> None:
    id = asked(stack, "tokens issue --budget 25/day --budget 300/soft")["id"]
    rows = [row for row in asked(stack, "budgets") if row["scope"] == f"key.{id}"]
    assert {(row["usd"], row["period"], row["soft"]) for row in rows} == {
        ("25", "day", False),
        ("300", "month", True),
    }
    assert f"key.{id}" in done(stack, "budgets")
    assert asked(stack, "alerts") == []
    assert asked(stack, "alerts --since 1h") == []
    assert "since" in refused(stack, "alerts --since yesterday")


def test_costs_come_by_many_names_and_in_three_formats(stack: Stack) -> None:
    becomes(stack, stack.key, 200)
    until = time.monotonic() + 10
    while not asked(stack, "costs --by hour --since 1h"):
        assert time.monotonic() < until
    for by in (
        "model",
        "provider",
        "team",
        "feature",
        "route",
        "key",
        "provider_key",
        "day",
        "hour",
        "minute",
    ):
        assert asked(stack, f"costs --by {by} --since 1h"), by
    assert asked(stack, "costs --by key --since 2h --until 1h") == []
    heading, *rows = done(stack, "costs --by team --format csv").splitlines()
    assert heading.startswith("team,requests,attempts,ok,")
    assert heading.endswith(",failed_usd,retried_usd,estimated_usd,cache_saved_usd,routing_saved_usd")
    assert rows
    assert "failed usd" in done(stack, "costs --by team --waste --savings --bars")
    assert "until" in refused(stack, "costs --until tomorrow")


async def test_an_identity_that_was_lost_comes_back_from_its_backup(
    make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    stack, file = make_stack(), tmp_path / "identity.age"
    await stack.start()
    done(stack, "keys add openai --id main", VALUE)
    phrase = "four unlikely words together\n"
    assert "wrote" in done(stack, f"keystore backup {file}", phrase)
    assert "exists" in refused(stack, f"keystore backup {file}", phrase)
    assert "in use" in refused(stack, f"keystore restore {file}", phrase)
    assert stack.stop() == 0
    identity = stack.home / "identity.key"
    before = identity.read_bytes()
    identity.unlink()

    stack.begin()
    assert stack.process is not None
    assert stack.process.wait(30) == 1
    assert stack.said() == (
        f"keyrail: {stack.home}/keystore is a keystore, but its identity {identity} is missing;"
        " `keyrail keystore restore` puts an identity back from its backup\n"
    )
    assert "passphrase" in refused(stack, f"keystore restore {file}", "another\n")
    told = asked(stack, f"keystore restore {file}", phrase)
    assert (told["changed"], told["readable_keys"], told["unreadable_keys"]) == (True, 1, [])
    assert identity.read_bytes() == before
    await stack.start()
    assert [row["id"] for row in asked(stack, "keys list")] == ["main"]


def test_up_speaks_json_too(tmp_path: Path) -> None:
    result = Stack(tmp_path / "home").cli("up", "--json", "--scale", "nonsense=1")
    assert result.returncode == 2
    assert "--scale takes SERVICE=N" in json.loads(result.stdout)["message"]


def test_without_a_stack_there_is_one_line_and_status_1(tmp_path: Path) -> None:
    nothing = Stack(tmp_path / "nowhere")
    for text in (
        "keys list",
        "tokens list",
        "config show",
        "budgets",
        "alerts",
        "tokens issue",
        "prices list",
    ):
        assert "nothing runs in" in refused(nothing, text)
    assert "nothing runs in" in refused(nothing, "keys add openai --id main", VALUE)


def test_a_routed_request_is_explained_and_tried_under_another_configuration(
    stack: Stack, tmp_path: Path
) -> None:
    answer = httpx.post(
        f"{stack.url}/v1/chat/completions",
        json=chat("fast"),
        headers={"authorization": f"Bearer {stack.key}", "x-keyrail-feature": "sums"},
        trust_env=False,
    )
    id = answer.headers["x-keyrail-request-id"]
    until = time.monotonic() + 10
    while (shown := stack.cli("requests", "show", id, "--json")).returncode or not json.loads(shown.stdout)[
        "decisions"
    ]:
        assert time.monotonic() < until, shown
    (decision,) = json.loads(shown.stdout)["decisions"]
    assert (decision["route"], decision["targets"]) == ("fast", ["sandbox/echo"])
    assert decision["draw"] is not None
    assert decision["facts"]["model"] == "fast"
    said = done(stack, f"requests show {id}")
    assert decision["reason"] in said
    assert any(line.split()[:2] == ["*", "sandbox/echo"] for line in said.splitlines())

    (route,) = asked(stack, "routes list")
    assert (route["name"], route["targets"][0]["target"]) == ("fast", "sandbox/echo")
    assert "sandbox/echo" in done(stack, "routes show fast")
    assert "no such route" in refused(stack, "routes show slow")
    same, other, broken = (tmp_path / name for name in ("same.yaml", "other.yaml", "broken.yaml"))
    same.write_text(CONFIG)
    other.write_text(CONFIG.replace("sandbox/echo", "sandbox/other"))
    broken.write_text("routes:\n  fast: {targets: [nobody/x]}\n")
    (told,) = asked(stack, f"routes simulate --since 1h --config {same} --route fast")["routes"]
    assert (told["elsewhere"], told["moves"], told["refused_after"]) == (0, [], 0)
    assert told["decisions"] > 0
    simulated = asked(stack, f"routes simulate --since 1h --config {other} --route fast")
    (told,) = simulated["routes"]
    moved = {"from": "sandbox/echo", "to": "sandbox/other", "decisions": told["decisions"]}
    assert told["moves"] == [moved]
    assert simulated["limits"]
    result = stack.cli("routes", "simulate", "--since", "1h", "--config", str(broken))
    assert result.stderr.startswith(f"{broken}:2: ")


def test_verdicts_are_imported_once(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    line = {"route": "fast", "task": "sums", "target": "sandbox/echo", "score": 0.75}
    file.write_text("".join(json.dumps(line | {"prompt": f"add {word}"}) + "\n" for word in "abcdefgh"))
    assert done(stack, f"verdicts import {file}") == "8 of 8 verdicts were new\n"
    assert asked(stack, f"verdicts import {file}") == {"verdicts": 8, "new": 0}
    (row,) = asked(stack, "routes scores fast")
    assert (row["task"], row["target"], row["in_route"]) == ("sums", "sandbox/echo", True)
    assert row["verdicts"] == pytest.approx(8, abs=0.01)
    until = time.monotonic() + 10
    while len(rows := asked(stack, "verdicts list --route fast --since 1h")) < 8:
        assert time.monotonic() < until, rows
    assert {row["source"] for row in rows} == {"import"}
    file.write_text('{"route": "slow", "target": "sandbox/echo", "score": 1}\n')
    assert f"{file}:1: route: there is no such route" in refused(stack, f"verdicts import {file}")
