"""The process: what it recorded of its calls, how it starts and how it stops."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.sandbox_process import Running, body, call_in_state, running

CHAT = "/v1/chat/completions"


async def test_a_call_is_recorded_as_it_came(http: httpx.AsyncClient) -> None:
    mine = uuid4().hex
    headers = {"x-client-request-id": mine, "authorization": "Bearer x"}
    answer = await http.post(CHAT, json=body("chunks-7", stream=True, vendor=1), headers=headers)
    call = await call_in_state(http, mine, "done")
    assert call["request_id"] == answer.headers["x-request-id"]
    assert call["started_ms"] <= call["ended_ms"] <= time.time() * 1000
    del call["request_id"], call["started_ms"], call["ended_ms"]
    assert call == {
        "client_request_id": mine,
        "model": "chunks-7",
        "stream": True,
        "path": CHAT,
        "state": "done",
        "chunks": 7,
        "authorization_present": True,
        "extra": ["vendor"],
    }


async def test_refused_calls_are_recorded_too(http: httpx.AsyncClient) -> None:
    mine = uuid4().hex
    await http.post(CHAT, content=b"{", headers={"x-client-request-id": mine})
    call = await call_in_state(http, mine, "done")
    assert (call["model"], call["authorization_present"]) == (None, False)


async def test_calls_can_be_cleared() -> None:
    with running() as own:
        async with httpx.AsyncClient(base_url=own.url) as http:
            await http.post(CHAT, json=body("echo"))
            assert len((await http.get("/_calls")).json()) == 1
            await http.delete("/_calls")
            assert (await http.get("/_calls")).json() == []


@pytest.mark.parametrize(
    ("model", "stream"),
    [
        ("hang", False),
        ("hang", True),
        ("stall-60s", False),
        ("slow-60s", True),
        ("slow-60s", False),
        ("chunks-1000000", True),
    ],
)
async def test_a_client_that_leaves_is_noticed_at_once(
    sandbox: Running, http: httpx.AsyncClient, model: str, stream: bool
) -> None:
    mine = uuid4().hex
    async with httpx.AsyncClient(base_url=sandbox.url, timeout=30) as leaver:
        call = leaver.stream(
            "POST", CHAT, json=body(model, stream=stream), headers={"x-client-request-id": mine}
        )
        await _leave_when_running(call, http, mine)
    left_ms = time.time() * 1000
    ended = await call_in_state(http, mine, "closed_by_client")
    assert ended["ended_ms"] - left_ms < 1000


async def _leave_when_running(call: Any, http: httpx.AsyncClient, mine: str) -> None:
    async def answer() -> None:
        async with call:
            await asyncio.Event().wait()  # never reads

    task = asyncio.create_task(answer())
    await call_in_state(http, mine, "running")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_it_says_ready_once_it_serves() -> None:
    with running() as own:
        assert own.notified == b"ready\n"
        assert httpx.get(own.url + "/healthz").status_code == 200


def test_without_a_socket_it_chooses_a_port_and_prints_it() -> None:
    command = [sys.executable, "-m", "keyrail_sandbox"]
    with subprocess.Popen(
        command, env={"KEYRAIL_SANDBOX_PORT": "0"}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.fullmatch(r"sandbox (http://127\.0\.0\.1:[1-9]\d*/v1)\n", line)
            assert found is not None, line
            assert httpx.get(found[1] + "/models").json()["object"] == "list"
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_answers_end_and_then_stops_it(number: signal.Signals) -> None:
    with running() as own:
        async with (
            httpx.AsyncClient(base_url=own.url, timeout=10) as http,
            http.stream("POST", CHAT, json=body("chunks-5+slow-50ms", stream=True)) as answer,
        ):
            own.process.send_signal(number)
            assert (await answer.aread()).endswith(b"data: [DONE]\n\n")
        _, errors = own.process.communicate(timeout=10)
    assert (own.process.returncode, errors) == (0, "")


async def test_what_hangs_is_ended_after_the_grace() -> None:
    with running(KEYRAIL_SANDBOX_GRACE_S="0") as own:
        async with httpx.AsyncClient(base_url=own.url, timeout=10) as http:
            call = http.stream("POST", CHAT, json=body("chunks-2+slow-60s", stream=True))
            async with call as answer:
                own.process.terminate()
                with pytest.raises(httpx.RemoteProtocolError):
                    await answer.aread()
        _, errors = own.process.communicate(timeout=10)
    assert own.process.returncode == 0
    assert "Traceback" not in errors


async def test_the_log_is_silent_about_faults_played_on_purpose() -> None:
    with running() as own:
        async with httpx.AsyncClient(base_url=own.url) as http:
            for model in ("cut-1", "status-500", "garbage"):
                try:
                    await http.post(CHAT, json=body(model, stream=True))
                except httpx.RemoteProtocolError:
                    assert model == "cut-1"
            await http.post(CHAT, content=json.dumps({"model": 1}))
        own.process.terminate()
        output, errors = own.process.communicate(timeout=10)
    assert (output, errors) == ("", "")
