"""Provider keys over the admin API: the store has the values, the bucket has the rest."""

from __future__ import annotations

import asyncio

from nats.aio.msg import Msg
from support.control import Begin, Controlled, Home
from support.nats import NatsServer

from keyrail.contracts import streams, subjects
from keyrail.contracts.base import now_ms
from keyrail.contracts.keys import KeyHealth, KeyRecord
from keyrail.contracts.signals import KeyTest, KeyTested
from keyrail.keys.base import KeyName
from keyrail.keys.keystore import KeystoreReader, KeystoreWriter
from keyrail.keys.secret import Secret
from keyrail_control.buckets import Bucket

OPENAI = {"provider": "openai", "id": "main", "value": "sk-one"}
PATH = "/v1/keys/default/openai/main"
NAME = KeyName("default", "openai", "main")


async def value(home: Home, name: KeyName = NAME) -> str:
    """What a worker reads."""
    return (await KeystoreReader(home.keystore, home.path / "identity.key").value(name)).reveal()


async def record(control: Controlled, name: str = "default.openai.main") -> KeyRecord | None:
    entry = await Bucket(control.bus, streams.KEYS.name).get(name)
    return KeyRecord.decode(entry.value) if entry else None


async def say(nats: NatsServer, health: KeyHealth) -> None:
    """What a worker says of the key."""
    worker = await nats.bus("provider-worker")
    await (await worker.js.key_value(streams.KEY_HEALTH.name)).put("default.openai.main", health.encode())
    await worker.close()


async def test_a_key_is_added_rotated_and_revoked(begin: Begin, home: Home) -> None:
    control = await begin()

    added = await control.post("/v1/keys", OPENAI | {"weight": 3}, expect=201)
    assert (added["tenant"], added["weight"], added["version"], added["state"]) == ("default", 3, 1, "ok")
    assert await value(home) == "sk-one"
    assert await control.rows("/v1/keys") == [added]

    rotated = await control.post(f"{PATH}/rotate", {"value": "sk-two"})
    assert (rotated["weight"], rotated["version"]) == (3, 2)
    assert await value(home) == "sk-two"
    found = await record(control)
    assert found is not None
    assert (found.version, found.weight, found.changed_ms) == (2, 3, rotated["changed_ms"])

    heavier = await control.post(f"{PATH}/rotate", {"value": "sk-three", "weight": 5})
    assert (heavier["weight"], heavier["version"]) == (5, 3)

    assert await control.delete(PATH) == {}
    assert await control.rows("/v1/keys") == []
    assert await KeystoreWriter(home.keystore).list() == []


async def test_what_is_not_there_is_not_found_and_what_is_there_is_not_added_again(
    begin: Begin, home: Home
) -> None:
    control = await begin()
    await control.post(f"{PATH}/rotate", {"value": "sk-two"}, expect=404)
    await control.post(f"{PATH}/test", expect=404)
    await control.delete(PATH, expect=404)
    await control.post("/v1/keys", OPENAI, expect=201)
    await control.post("/v1/keys", OPENAI | {"value": "sk-other"}, expect=409)
    assert await value(home) == "sk-one"


async def test_a_key_for_a_provider_that_is_not_configured_is_refused(begin: Begin) -> None:
    control = await begin()
    refused = await control.post("/v1/keys", OPENAI | {"provider": "opnai"}, expect=400)
    assert refused["error"]["message"].startswith("provider:")
    assert "opnai" not in refused["error"]["message"]


async def test_a_list_says_which_keys_are_out_and_a_rotation_ends_that(
    begin: Begin, nats: NatsServer
) -> None:
    control = await begin()
    await control.post("/v1/keys", OPENAI, expect=201)

    async def state() -> tuple[str, str | None, int | None]:
        (row,) = await control.rows("/v1/keys")
        return row["state"], row["reason"], row["until_ms"]

    soon = now_ms() + 60_000
    await say(nats, KeyHealth(reason="rate", since_ms=now_ms(), until_ms=soon, version=1))
    assert await state() == ("out", "rate", soon)
    await say(nats, KeyHealth(reason="quota", since_ms=0, until_ms=1000, version=1))
    assert await state() == ("recovering", "quota", 1000)
    await say(nats, KeyHealth(reason="auth", since_ms=0, version=1))
    assert await state() == ("out", "auth", None)
    await control.post(f"{PATH}/rotate", {"value": "sk-two"})
    assert await state() == ("ok", None, None)


async def test_a_key_that_comes_back_is_another_version_than_the_one_that_was_refused(
    begin: Begin, nats: NatsServer
) -> None:
    control = await begin()
    await control.post("/v1/keys", OPENAI, expect=201)
    await say(nats, KeyHealth(reason="auth", since_ms=0, version=1))
    await control.delete(PATH)

    again = await control.post("/v1/keys", OPENAI, expect=201)

    assert again["version"] == 2
    assert [row["state"] for row in await control.rows("/v1/keys")] == ["ok"]


async def test_keys_that_others_put_into_the_store_are_published_and_those_that_are_gone_removed(
    begin: Begin, home: Home
) -> None:
    writer = KeystoreWriter(home.keystore)
    await writer.put("default", "groq", "env", Secret("gsk-1"))
    control = await begin(look_s=0.05)
    assert [(row["id"], row["version"]) for row in await control.rows("/v1/keys")] == [("env", 1)]
    assert (await control.get("/v1/providers"))["rows"]

    await writer.delete("default", "groq", "env")
    await writer.put("acme", "openai", "main", Secret("sk-1"))

    async with asyncio.timeout(5):
        while [row["tenant"] for row in await control.rows("/v1/keys")] != ["acme"]:
            await asyncio.sleep(0.01)


async def test_a_key_of_the_environment_is_a_new_version_at_each_start_and_others_are_not(
    begin: Begin, home: Home
) -> None:
    await KeystoreWriter(home.keystore).put("default", "groq", "env", Secret("gsk-1"))
    first = await begin()
    await first.post("/v1/keys", OPENAI | {"weight": 4}, expect=201)

    second = await begin()

    rows = {row["id"]: (row["version"], row["weight"]) for row in await second.rows("/v1/keys")}
    assert rows == {"env": (2, 1), "main": (1, 4)}


async def test_a_worker_tests_a_key_and_its_answer_is_passed_on(begin: Begin, nats: NatsServer) -> None:
    control = await begin()
    await control.post("/v1/keys", OPENAI, expect=201)
    nobody = await control.post(f"{PATH}/test", expect=503)
    assert nobody["error"]["message"] == "a provider-worker is not there"

    worker = await nats.bus("provider-worker")
    asked: list[KeyTest] = []

    async def on_test(msg: Msg) -> None:
        asked.append(KeyTest.decode(msg.data))
        await worker.publish(msg.reply, KeyTested(result="ok", status=200).encode())

    await worker.subscribe(subjects.KEY_TEST, on_test, queue="provider-worker")
    await worker.nc.flush()

    assert await control.post(f"{PATH}/test") == {"result": "ok", "status": 200, "detail": ""}
    assert asked == [KeyTest(tenant="default", provider="openai", id="main")]
    await worker.close()


async def test_models_of_a_provider_are_listed_once_it_has_a_key(begin: Begin) -> None:
    control = await begin()
    before = await control.get("/v1/config")
    await control.post("/v1/keys", OPENAI, expect=201)
    after = await control.get("/v1/config")
    assert after["revision"] == before["revision"] + 1
    assert after["text"] == before["text"]
    await control.post("/v1/keys", OPENAI | {"id": "second"}, expect=201)
    assert (await control.get("/v1/config"))["revision"] == after["revision"]


async def test_a_key_store_that_can_not_be_used_is_503(begin: Begin, home: Home) -> None:
    control = await begin()
    home.keystore.rename(home.path / "away")
    await control.post("/v1/keys", OPENAI, expect=503)
    assert [row["id"] for row in await control.rows("/v1/keys")] == []
