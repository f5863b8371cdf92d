"""The running stack with a certificate: clients over https, renewal, and what is refused at the start."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM

import httpx
import pytest
from support.certificates import Files, serial
from support.stack import Stack, chat

from keyrail.http.tls import LOOK_S

pytestmark = pytest.mark.timeout(120)


async def served(stack: Stack, trusting: ssl.SSLContext) -> str:
    """The serial number that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", stack.port, ssl=trusting)
    found = serial(writer.get_extra_info("ssl_object"))
    writer.transport.abort()
    return found


async def test_the_official_client_over_https_while_the_certificate_is_renewed(
    make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    files = Files(tmp_path / "tls")
    trusting = files.trusting()
    stack = await make_stack(environment=files.variables, tls=trusting).start()
    assert stack.run_file()["url"] == f"https://127.0.0.1:{stack.port}"
    assert f"ready: https://127.0.0.1:{stack.port}" in stack.said()
    async with stack.http() as client:
        assert (await client.get("/readyz")).status_code == 200

    answer = await stack.openai().chat.completions.create(**chat("sandbox/echo"))
    assert answer.choices[0].message.content
    stream = await stack.openai().chat.completions.create(**chat("sandbox/chunks-60+slow-100ms"), stream=True)
    first = await served(stack, trusting)
    chunks = stream.__aiter__()
    await chunks.__anext__()
    files.renew()
    async with asyncio.timeout(LOOK_S + 15):
        while await served(stack, trusting) == first:
            await asyncio.sleep(0.05)
    finishes = [c.choices[0].finish_reason async for c in chunks if c.choices]
    assert finishes[-1] == "stop", "the stream that began under the old certificate ended well"
    assert len(finishes) > 30, "and most of it came after the renewal"

    async with httpx.AsyncClient(trust_env=False) as plain:
        with pytest.raises(httpx.TransportError):
            await plain.get(f"http://127.0.0.1:{stack.port}/healthz")
    pid = stack.signal("ingress", SIGTERM)
    await stack.replaced("ingress", pid)
    assert (await stack.openai().chat.completions.create(**chat("sandbox/echo"))).choices
    assert stack.stop() == 0
    lines = [json.loads(line) for line in (stack.home / "logs" / "ingress.jsonl").read_text().splitlines()]
    assert [line for line in lines if line["level"] not in {"INFO", "info"}] == []
    assert "the certificate was renewed" in {line["event"] for line in lines}


def test_a_certificate_that_cannot_be_used_starts_nothing(
    make_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    files = Files(tmp_path / "tls")
    files.renew(cert=False)
    stack = make_stack(environment=files.variables)
    stack.begin()
    assert stack.process is not None
    assert stack.process.wait(30) == 2
    assert stack.said() == f"keyrail: {files.cert}, {files.key}: the key is not the certificate's\n"
    assert not stack.home.exists()
    stack.environment = {"KEYRAIL_TLS_CERT_FILE": str(files.cert)}
    stack.begin()
    assert stack.process.wait(30) == 2
    assert "both KEYRAIL_TLS_CERT_FILE and KEYRAIL_TLS_KEY_FILE" in stack.said()


def test_ingress_alone_says_what_is_wrong_with_its_certificate(tmp_path: Path) -> None:
    files = Files(tmp_path / "tls")
    files.key.unlink()
    done = subprocess.run(
        [sys.executable, "-m", "keyrail_ingress"],
        env=files.variables,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"ingress: {files.key}: No such file or directory\n")
