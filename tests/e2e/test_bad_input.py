"""What ingress refuses, and how."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.stack import Stack, chat

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/v1/chat/completions"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer sk-something"},
        {"authorization": "Bearer kr_abcdefgh_" + "x" * 50},
        {"authorization": "Basic a2V5"},
    ],
)
async def test_a_wrong_credential_is_a_401(stack: Stack, headers: dict[str, str]) -> None:
    async with stack.http() as client:
        answer = await client.post(PATH, json=chat("sandbox/echo"), headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "sk-something" not in answer.text


async def test_no_credential_and_two_credentials_are_a_401_and_x_api_key_is_taken(stack: Stack) -> None:
    async with stack.http() as client:
        del client.headers["authorization"]
        assert (await client.post(PATH, json=chat("sandbox/echo"))).status_code == 401
        alone = await client.post(PATH, json=chat("sandbox/echo"), headers={"x-api-key": stack.key})
        assert alone.status_code == 200
        both = {"x-api-key": stack.key, "authorization": f"Bearer {stack.key}"}
        assert (await client.post(PATH, json=chat("sandbox/echo"), headers=both)).status_code == 401


DEEP = b'{"model":"sandbox/echo","messages":[{"role":"user","content":"x"}],"x":' + b"[" * 100_000


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"null", None),
        (b"[1]", None),
        (b'{"model":"sandbox/echo","messages":[{"role":"user","content":"\xff"}]}', None),
        (b'{"model":"sandbox/echo","messages":[{"role":"user","content":"x"}],"x":NaN}', None),
        (b'{"model":"sandbox/echo","messages":[{"role":"user","content":"x"}],"x":1e999}', None),
        (b'{"model":"sandbox/echo","messages":[{"role":"user","content":"\\ud800"}]}', None),
        (DEEP, None),
        (DEEP + b"]" * 100_000 + b"}", None),
        (b'{"model":"sandbox/echo","messages":[{"role":"user","content":"x"}]} x', None),
        (b'\xef\xbb\xbf{"model":"sandbox/echo","messages":[{"role":"user","content":"x"}]}', None),
        (json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode(), "model"),
        (json.dumps(chat("")).encode(), "model"),
        (json.dumps({"model": 7, "messages": []}).encode(), "model"),
        (json.dumps({"model": "sandbox/echo"}).encode(), "messages"),
        (json.dumps({"model": "sandbox/echo", "messages": []}).encode(), "messages"),
        (json.dumps({"model": "sandbox/echo", "messages": "hi"}).encode(), "messages"),
        (json.dumps({"model": "sandbox/echo", "messages": [{"role": "king"}]}).encode(), "messages[0].role"),
        (json.dumps(chat("sandbox/echo", stream="yes")).encode(), "stream"),
        (json.dumps(chat("sandbox/echo", max_tokens=True)).encode(), "max_tokens"),
        (json.dumps(chat("sandbox/echo", max_tokens=-1)).encode(), "max_tokens"),
        (json.dumps(chat("sandbox/echo", temperature="hot")).encode(), "temperature"),
        (json.dumps(chat("sandbox/echo", n=10**9)).encode(), "n"),
        (json.dumps(chat("sandbox/echo", tools={})).encode(), "tools"),
    ],
)
async def test_a_bad_body_is_a_400_that_names_the_parameter(
    stack: Stack, body: bytes, param: str | None
) -> None:
    async with stack.http() as client:
        answer = await client.post(PATH, content=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


async def test_duplicate_keys_mean_the_same_to_every_reader(stack: Stack) -> None:
    body = b'{"model":"nobody/x","model":"sandbox/echo","messages":[{"role":"user","content":"x"}]}'
    async with stack.http() as client:
        answer = await client.post(PATH, content=body)
    assert answer.status_code == 200
    assert answer.headers["x-keyrail-model"] == "echo"


@pytest.mark.parametrize("model", ["nobody-knows-this", "nowhere/model", "../../etc/passwd", "a\u0000b", "é"])
async def test_an_unknown_model_is_refused_by_name(stack: Stack, model: str) -> None:
    async with stack.http() as client:
        answer = await client.post(PATH, json=chat(model))
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/completions",
        "/v1/images/generations",
        "/v1/audio/speech",
        "/v1/batches",
        "/v1/files",
        "/v1/files/x",
    ],
)
async def test_an_endpoint_that_is_not_served_says_so(stack: Stack, path: str) -> None:
    async with stack.http() as client:
        answer = await client.post(path, json={})
    assert answer.status_code == 404
    assert "does not serve" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/", "/v1", "//v1/chat/completions", "/v1/..;/admin", "/metrics", "/v1/costs"]
)
async def test_every_other_path_is_refused(stack: Stack, path: str) -> None:
    async with stack.http() as client:
        assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("tag", ["", "x" * 65, "semi;colon", "new\u2028line"])
async def test_a_bad_tag_is_refused(stack: Stack, tag: str) -> None:
    async with stack.http() as client:
        headers: Any = {"x-keyrail-team": tag.encode()}
        answer = await client.post(PATH, json=chat("sandbox/echo"), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "x-keyrail-team"


async def test_a_body_just_below_the_limit_is_served_and_the_connection_lives(stack: Stack) -> None:
    text = "x" * ((4 << 20) - 200)
    async with stack.http() as client:
        answer = await client.post(PATH, json=chat("sandbox/chunks-3", text))
        assert answer.status_code == 200, answer.text[:200]
        assert (await client.post(PATH, json=chat("sandbox/echo"))).status_code == 200


@pytest.mark.parametrize("size", [3_000_000, 20_000_000])
async def test_a_large_answer_comes_through_whole(stack: Stack, size: int) -> None:
    async with stack.http() as client:
        answer = await client.post(PATH, json=chat(f"sandbox/bytes-{size}"))
    assert len(answer.json()["choices"][0]["message"]["content"]) == size


async def test_an_answer_beyond_all_bounds_is_an_honest_error(stack: Stack) -> None:
    async with stack.http() as client:
        answer = await client.post(PATH, json=chat("sandbox/bytes-40000000"))
    assert answer.status_code == 502
    assert "larger than" in answer.json()["error"]["message"]


async def raw(stack: Stack, head: str, body: bytes = b"") -> bytes:
    """Send exactly this and read until the server closes, or has answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
    answer = await asyncio.wait_for(reader.read(65_536), 5)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(stack: Stack) -> None:
    head = (
        f"POST {PATH} HTTP/1.1\nhost: x\nauthorization: Bearer {stack.key}\n"
        "content-type: application/json\ncontent-length: 50000000000"
    )
    answer = await raw(stack, head)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_chunked_body_is_refused_once_it_is_too_long(stack: Stack) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.port)
    head = f"POST {PATH} HTTP/1.1\nhost: x\nauthorization: Bearer {stack.key}\ntransfer-encoding: chunked"
    writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    sent = 0
    answered = asyncio.create_task(reader.read(100))
    while not answered.done() and sent < 64 << 20:
        writer.write(chunk)
        sent += len(chunk)
        try:
            await writer.drain()
            await asyncio.sleep(0)  # drain alone need not let the reader run
        except ConnectionError:
            break
    assert (await answered).startswith(b"HTTP/1.1 413 ")
    assert sent < 48 << 20, "refused before the end"
    writer.close()


async def test_an_encoded_body_and_a_repeated_credential_are_refused(stack: Stack) -> None:
    async with stack.http() as client:
        answer = await client.post(PATH, content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415
    twice = f"GET /v1/models HTTP/1.1\nhost: x\nauthorization: Bearer {stack.key}\nauthorization: Bearer y"
    assert (await raw(stack, twice)).startswith(b"HTTP/1.1 400 ")
