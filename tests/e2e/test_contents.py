"""Contents on a running stack: off unless a tenant wants them, readable to who has its key alone."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from support import canary
from support.canary import Tap
from support.stack import Stack, chat

from keyrail.http.admin import AdminClient

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

CONFIG = """
routes:
  falls: {{strategy: fallback, targets: [sandbox/status-429, sandbox/echo]}}
tenants:
  default: {{contents: {{recipient: {mine}, keep: 30d}}}}
  other: {{contents: {{recipient: {theirs}, keep: 1d}}}}
  closed: {{}}
"""
TEXT = "canary-in-a-prompt-4f1d9a7be2"


def keygen(folder: Path, name: str) -> tuple[Path, str]:
    """A pair of keys, made as a user makes it: without a stack."""
    file = folder / f"{name}.key"
    told = Stack(folder / "nothing-runs-here").cli("contents", "keygen", "--output", str(file), "--json")
    assert told.returncode == 0, told.stderr
    return file, json.loads(told.stdout)["recipient"]


class Kept:
    """A stack with contents on for two tenants of three."""

    def __init__(self, folder: Path) -> None:
        self.mine, mine = keygen(folder, "mine")
        self.theirs, theirs = keygen(folder, "theirs")
        self.stack = Stack(folder / "home", CONFIG.format(mine=mine, theirs=theirs))

    def key(self, tenant: str) -> str:
        """A virtual key of this tenant."""
        told = self.stack.cli("tokens", "issue", "--tenant", tenant, "--json")
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)["key"]

    def asked(self, *arguments: str) -> Any:
        told = self.stack.cli("contents", *arguments, "--json")
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    def rows(self, **query: str) -> list[dict[str, Any]]:
        """As `keyrail contents list`, without a process for each question."""
        token = (self.stack.home / "admin.token").read_text().strip()
        with AdminClient(self.stack.run_file()["admin_url"], token) as admin:
            return list(admin.rows("/v1/contents", query))

    async def until(self, count: int, **query: str) -> list[dict[str, Any]]:
        """Rows, once there are `count`."""
        async with asyncio.timeout(20):
            while len(rows := await asyncio.to_thread(self.rows, **query)) < count:
                await asyncio.sleep(0.1)
        return rows

    async def shown(
        self, request_id: str, identity: Path | None = None, count: int = 1
    ) -> list[dict[str, Any]]:
        """The request's attempts, decrypted, once there are `count`."""
        await self.until(count, request=request_id)
        return await asyncio.to_thread(
            self.asked, "show", request_id, "--identity", str(identity or self.mine)
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path_factory.mktemp("contents"))
    try:
        await kept.stack.start()
        yield kept
    finally:
        await kept.stack.close()
        code = kept.stack.stop()
    assert code == 0, kept.stack.said()


HELLO = [{"role": "user", "content": f"say {TEXT}"}]
FACES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "sandbox/echo", "messages": HELLO}),
    "responses": ("/v1/responses", {"model": "sandbox/echo", "input": f"say {TEXT}"}),
    "messages": ("/v1/messages", {"model": "sandbox/echo", "messages": HELLO, "max_tokens": 100}),
    "embeddings": ("/v1/embeddings", {"model": "sandbox/echo", "input": f"say {TEXT}"}),
}
ASKED = [
    (face, stream) for face in FACES for stream in (False, True) if (face, stream) != ("embeddings", True)
]


@pytest.mark.parametrize(("face", "stream"), ASKED)
async def test_what_is_kept_is_exactly_what_the_client_sent_and_got(
    kept: Kept, face: str, *, stream: bool
) -> None:
    path, body = FACES[face]
    body = {**body, "stream": True} if stream else body
    async with kept.stack.http() as http:
        answer = await http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    (row,) = await kept.shown(answer.headers["x-keyrail-request-id"])
    assert json.loads(row["request"]) == body
    assert row["answer"].encode() == answer.content
    assert row["answer_bytes"] == len(answer.content)


async def test_each_attempt_has_its_own_and_a_failed_one_an_empty_answer(kept: Kept) -> None:
    async with kept.stack.http() as http:
        answer = await http.post("/v1/chat/completions", json=chat("falls"))
    first, second = await kept.shown(answer.headers["x-keyrail-request-id"], count=2)
    assert (first["model"], first["answer"]) == ("status-429", "")
    assert (second["model"], second["answer"].encode()) == ("echo", answer.content)
    assert first["request"] == second["request"]


async def test_of_a_client_that_left_there_is_what_was_sent_until_then(kept: Kept) -> None:
    body, got = chat("sandbox/chunks-100+slow-20ms", stream=True), b""
    async with (
        kept.stack.http() as http,
        http.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        request_id = answer.headers["x-keyrail-request-id"]
        async for chunk in answer.aiter_raw():
            got += chunk
            if len(got) > 1_000:
                break
    (row,) = await kept.shown(request_id)
    assert row["answer"].encode().startswith(got)
    assert "[DONE]" not in row["answer"]


async def test_a_stream_that_breaks_has_what_came_before(kept: Kept) -> None:
    async with kept.stack.http() as http:
        answer = await http.post("/v1/chat/completions", json=chat("sandbox/cut-3", stream=True))
    (row,) = await kept.shown(answer.headers["x-keyrail-request-id"])
    assert row["answer"]
    assert answer.content.startswith(row["answer"].encode())
    assert answer.content != row["answer"].encode(), "ingress says at the end that it broke"


async def admitted(stack: Stack, key: str) -> httpx.Response:
    """The first answer with a virtual key that has just been issued."""
    headers = {"authorization": f"Bearer {key}"}
    async with stack.http() as http, asyncio.timeout(20):
        while True:
            answer = await http.post("/v1/chat/completions", json=chat("sandbox/echo"), headers=headers)
            if answer.status_code == 200:
                return answer
            assert answer.status_code == 401, answer.text
            await asyncio.sleep(0.1)


async def test_a_tenant_is_opened_by_its_own_key_alone_and_one_without_contents_has_none(kept: Kept) -> None:
    ids: dict[str, str] = {}
    for tenant in ("closed", "other"):
        key = await asyncio.to_thread(kept.key, tenant)
        answer = await admitted(kept.stack, key)
        ids[tenant] = answer.headers["x-keyrail-request-id"]
    assert (await kept.shown(ids["other"], kept.theirs))[0]["tenant"] == "other"
    wrong = kept.stack.cli("contents", "show", ids["other"], "--identity", str(kept.mine))
    assert wrong.returncode == 1
    assert "written for another identity" in wrong.stderr
    await kept.stack.settled(ids["closed"])
    assert kept.rows(tenant="closed") == []
    none = kept.stack.cli("contents", "show", ids["closed"], "--identity", str(kept.mine))
    assert "nothing is kept of this request" in none.stderr
    days = {row["expires_at"][:10] > row["started_at"][:10] for row in kept.rows(tenant="other")}
    assert days == {True}


async def test_the_admin_token_gets_no_more_than_a_sealed_file(kept: Kept) -> None:
    async with kept.stack.http() as http:
        answer = await http.post("/v1/chat/completions", json=chat("sandbox/echo", TEXT))
    (row,) = await kept.shown(answer.headers["x-keyrail-request-id"])
    token = (kept.stack.home / "admin.token").read_text().strip()
    base = kept.stack.run_file()["admin_url"]
    part = f"/v1/contents/{row['request_id']}/{row['attempt_id']}/request"
    async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {token}"}) as admin:
        piece = (await admin.get(part)).json()
        assert base64.b64decode(piece["data"]).startswith(b"age-encryption.org/v1\n-> X25519 ")
        assert piece["next"] is None
        assert (await admin.get(part.replace("/request", "/elsewhere"))).status_code == 404
        assert (await admin.get(f"{part}?offset=-1")).status_code == 400
        for body in ({}, {"tenant": "x", "before": "2999-01-01T00:00:00Z"}, {"tenant": "x", "cursor": "1"}):
            assert (await admin.post("/v1/contents/deletions", json=body)).status_code == 400
        assert (await admin.get(part, headers={"authorization": "Bearer no"})).status_code == 401


async def test_what_is_deleted_is_gone_for_its_tenant_and_said_in_the_log(kept: Kept) -> None:
    async with kept.stack.http() as http:
        answer = await http.post("/v1/chat/completions", json=chat("sandbox/echo"))
    request_id = answer.headers["x-keyrail-request-id"]
    await kept.shown(request_id)
    mine = kept.asked("list", "--tenant", "default")
    unsure = kept.stack.cli("contents", "delete", "--tenant", "default")
    assert (unsure.returncode, len(kept.rows(tenant="default"))) == (1, len(mine))
    others = kept.rows(tenant="other")

    told = kept.asked("delete", "--tenant", "default", "--before", "1h", "--yes")
    assert told["deleted"] == 0
    told = kept.asked("delete", "--tenant", "default", "--yes")
    assert (told["deleted"], told["left"]) == (len(mine), 0)
    assert kept.rows(tenant="default") == []
    assert kept.rows(tenant="other") == others
    assert (
        "nothing is kept"
        in kept.stack.cli("contents", "show", request_id, "--identity", str(kept.mine)).stderr
    )
    assert (await kept.stack.settled(request_id))[0]["status"] == "ok", "the ledger itself stays"
    logged = [
        json.loads(line)
        for file in (kept.stack.home / "logs").glob("control*.jsonl")
        for line in file.read_text().splitlines()
        if "contents.delete" in line
    ]
    assert logged[-1]["subject"] == "default"
    assert (logged[-1]["deleted"], logged[-1]["done"]) == (len(mine), True)


async def test_a_prompt_is_found_nowhere_but_by_decrypting(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    stack = kept.stack
    await stack.start()
    tap = Tap(stack.home, tmp_path / "tapped")
    ids: list[str] = []
    try:
        async with stack.http() as http:
            for face, stream in ASKED:
                path, body = FACES[face]
                answer = await http.post(path, json={**body, "stream": stream} if stream else body)
                assert answer.status_code == 200, answer.text
                ids.append(answer.headers["x-keyrail-request-id"])
            for model in ("cut-3", "status-500", "garbage", "error-200"):
                answer = await http.post(
                    "/v1/chat/completions", json=chat(f"sandbox/{model}", TEXT, stream=True)
                )
                ids.append(answer.headers["x-keyrail-request-id"])
        await stack.all_settled(())
        shown = await kept.shown(ids[0])
        assert TEXT in shown[0]["request"]
        await kept.until(len(ids), tenant="default")
        assert stack.process is not None
        pids = [stack.process.pid, *(p["pid"] for p in stack.run_file()["processes"])]
        places = canary.processes_of(pids)
        assert stack.stop() == 0
    finally:
        heard = tap.stop()
        stack.stop()
    sealed = re.findall(rb"^kr\.v1\.cnt\.attempt [^\n]*\n(\{[^\n]*)", heard, re.MULTILINE)
    assert len(sealed) >= len(ids)
    for message in map(json.loads, sealed):
        for part in ("request", "answer"):
            assert base64.b64decode(message[part]).startswith(b"age-encryption.org/v1\n")
    places |= {"contents": b"".join(sealed), "said": stack.said().encode()}
    events = re.findall(rb"^kr\.v1\.(?:evt|dlq|ctl)\.[^\n]*\n[^\n]*", heard, re.MULTILINE)
    assert events
    places["events"] = b"\n".join(events)
    places |= canary.files_of(stack.home) | canary.tables_of(stack.home / "ledger")
    assert canary.places_that_hold(TEXT, places) == []
    assert ids[0].encode() in places["table default.contents"], "the search sees the rows"
    assert canary.places_that_hold(TEXT, {"bus": heard}) == ["bus"], "and would see the prompt"
