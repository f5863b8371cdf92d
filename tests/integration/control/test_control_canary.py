"""A provider key and a virtual key with known values, searched for everywhere they must not be."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from support.control import Begin, Controlled, Home
from support.nats import NatsServer

from keyrail.bus.permissions import ADMIN
from keyrail.contracts import subjects
from keyrail.contracts.signals import KeyTested
from keyrail.telemetry.logs import JsonFormatter

CANARY = "sk-CANARY0f4d2b7e91"
LOWER = "sk-canary77aa11bb22"
OTHER = "sk-CANARY55aa37c0de"
KEY = "/v1/keys/default/openai/main"


class Seen:
    """Everything that could hold a secret, with where it was."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, bytes]] = []

    async def on_message(self, msg: Msg) -> None:
        self.texts.append((f"message {msg.subject}", msg.data + repr(msg.headers).encode()))

    def holders(self, *secrets: str) -> list[str]:
        """Where one of these is, plain or in base64 at any offset."""
        shapes = [shape for secret in secrets for shape in _shapes(secret)]
        return [where for where, text in self.texts if any(shape in text for shape in shapes)]


def _shapes(secret: str) -> list[bytes]:
    raw = secret.encode()
    shifted = [base64.b64encode(b"x" * n + raw)[(4 if n else 0) : -4] for n in range(3)]
    return [raw, *shifted, raw.hex().encode()]


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


async def captured(nats: NatsServer, seen: Seen) -> Client:
    """The one user that may see everything."""
    client = Client()
    await client.connect(nats.url, user=ADMIN, password=ADMIN)
    await client.subscribe(">", cb=seen.on_message)
    await client.flush()
    return client


async def answering_worker(nats: NatsServer) -> Any:
    worker = await nats.bus("provider-worker")

    async def on_test(msg: Msg) -> None:
        await worker.publish(msg.reply, KeyTested(result="refused", status=401, detail="no").encode())

    await worker.subscribe(subjects.KEY_TEST, on_test, queue="provider-worker")
    await worker.nc.flush()
    return worker


class Asking:
    """Asks, and keeps the answers among what is searched."""

    def __init__(self, control: Controlled, seen: Seen) -> None:
        self.control = control
        self.seen = seen

    async def __call__(self, method: str, path: str, expect: int, body: object = None) -> None:
        answer = await self.control.ask(method, path, body, expect=expect)
        self.seen.texts.append((f"answer {method} {expect}", repr(answer).encode()))

    async def provider_keys(self) -> None:
        """A key's life, and what goes wrong: its value misplaced, misshapen, in the wrong company."""
        new = {"provider": "openai", "id": "main", "value": CANARY}
        await self("POST", "/v1/keys", 201, new)
        await self("POST", "/v1/keys", 409, new)
        await self("POST", f"{KEY}/rotate", 200, {"value": OTHER})
        await self("POST", f"{KEY}/test", 200)
        await self("GET", "/v1/keys", 200)
        for wrong in (
            new | {"value": CANARY + "\n"},
            new | {"value": [CANARY]},
            new | {"value": CANARY * 1000},
            new | {"id": CANARY},
            new | {"provider": CANARY},
            new | {"tenant": CANARY},
            new | {"weight": CANARY},
            new | {CANARY: 1},
            {"provider": "openai", "id": CANARY},
        ):
            await self("POST", "/v1/keys", 400, wrong)
        await self("POST", f"/v1/keys/default/openai/{CANARY}/rotate", 400, {"value": CANARY})
        await self("POST", "/v1/keys/default/openai/other/rotate", 404, {"value": CANARY})
        for wrong_place in (f"/v1/keys/default/openai/{LOWER}", f"/v1/keys/default/{LOWER}/x"):
            await self("DELETE", wrong_place, 404)
            await self("PUT", wrong_place, 405)
            await self("POST", f"{wrong_place}/test", 404)
            await self("POST", f"{wrong_place}/rotate", 404, {"value": CANARY})
        await self("GET", f"/v1/costs?{CANARY}=1", 400)
        await self("GET", f"/v1/costs?by={CANARY}&since={CANARY}", 400)
        await self("POST", "/v1/config/apply", 400, {"text": "", "filename": CANARY * 20})

    async def store_away(self, home: Home) -> None:
        """A key that can't be stored."""
        away = home.keystore.rename(home.path / "away")
        await self("POST", "/v1/keys", 503, {"provider": "openai", "id": "third", "value": CANARY})
        away.rename(home.keystore)

    async def virtual_keys(self, first: str) -> tuple[str, ...]:
        """A virtual key's life, and all of them where they do not belong. Returns what was shown."""
        shown = await self.control.post("/v1/tokens", {"budgets": ["10/day"]}, expect=201)
        rotated = await self.control.post(f"/v1/tokens/{shown['id']}/rotate", {"overlap": "1h"})
        secrets = (shown["key"], rotated["key"], first)
        await self("GET", "/v1/tokens", 200)
        for key in secrets:
            await self("POST", f"/v1/tokens/{key}/rotate", 404)
            await self("DELETE", f"/v1/tokens/{key}", 404)
            await self("POST", "/v1/tokens", 400, {"team": key + "!"})
            refused = await self.control.http.get("/v1/tokens", headers={"authorization": f"Bearer {key}"})
            self.seen.texts.append(("refusal", refused.content))
        await self("DELETE", f"/v1/tokens/{shown['id']}", 200)
        return secrets


async def test_no_secret_is_anywhere_but_in_the_one_answer_that_shows_it(
    begin: Begin, home: Home, nats: NatsServer, tmp_path: Path, records: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    spy, worker = await captured(nats, seen), await answering_worker(nats)
    ask = Asking(await begin(), seen)
    await ask.provider_keys()
    await ask.store_away(home)
    virtual = await ask.virtual_keys(home.default_key.key)
    seen.texts.append(("metrics", (await ask.control.http.get("/metrics")).content))
    await spy.flush()

    formatter = JsonFormatter("control", "i")
    for record in records.records:
        if not record.name.startswith(("httpx", "httpcore")):  # the test's own client
            line = formatter.format(record) + repr(vars(record))
            seen.texts.append((f"log {record.message}", line.encode()))
    for path in (*home.path.rglob("*"), *(tmp_path / "nats").rglob("*")):
        if path.is_file() and path.name != "default.key":
            seen.texts.append((str(path), path.read_bytes()))

    places = [where for where, _ in seen.texts]
    assert any(where.startswith("message $KV.keyrail_keys") for where in places), "the spy saw nothing"
    assert any(where.startswith("message $KV.keyrail_tokens") for where in places)
    assert "log admin change" in places
    assert seen.holders(CANARY, OTHER, LOWER, *virtual) == []
    await spy.close()
    await worker.close()


async def test_each_change_leaves_one_line_that_says_who_what_and_which(
    begin: Begin, nats: NatsServer, records: pytest.LogCaptureFixture
) -> None:
    worker = await answering_worker(nats)
    control = await begin()
    await control.post("/v1/keys", {"provider": "openai", "id": "main", "value": CANARY}, expect=201)
    await control.post(f"{KEY}/rotate", {"value": OTHER})
    await control.post(f"{KEY}/test")
    await control.delete(KEY)
    id = (await control.post("/v1/tokens", {}, expect=201))["id"]
    await control.post(f"/v1/tokens/{id}/rotate", {})
    await control.delete(f"/v1/tokens/{id}")
    applied = await control.post("/v1/config/apply", {"text": "aliases: {fast: openai/x}"})
    await control.post("/v1/config/rollback", {"revision": 1})
    await control.get("/v1/keys")
    await control.post("/v1/keys", {"provider": "openai", "id": "x", "value": ""}, expect=400)

    lines = [vars(each) for each in records.records if each.message == "admin change"]

    assert {line["who"] for line in lines} == {"admin"}
    assert [(line["what"], line["subject"]) for line in lines] == [
        ("keys.add", "default/openai/main"),
        ("keys.rotate", "default/openai/main"),
        ("keys.test", "default/openai/main"),
        ("keys.revoke", "default/openai/main"),
        ("tokens.issue", id),
        ("tokens.rotate", id),
        ("tokens.revoke", id),
        ("config.apply", str(applied["revision"])),
        ("config.rollback", str(applied["revision"] + 1)),
    ]
    await worker.close()
