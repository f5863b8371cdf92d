"""What only a real server with Vault's API can say: policies, logins, tokens, seals."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from support.key_stores import Opened
from support.nats import eventually
from support.openbao import OpenBao, within
from support.token_review import ApiServer, service_account_token

from keyrail.keys import vault_client
from keyrail.keys.base import KeyName, KeyNotFound, KeyReader, KeyStoreUnavailable
from keyrail.keys.secret import Secret
from keyrail.telemetry import metrics

NAME = KeyName("default", "openai", "env")
PATH = "default/providers/openai/env"
DATA = f"llm/data/tenants/{PATH}"
METADATA = f"llm/metadata/tenants/{PATH}"
FOLDER = "llm/metadata/tenants/default/providers/openai"
CANARY = "sk-canary-66b1f0aa"
WRITTEN = {"data": {"api_key": "x", "weight": 1}}

LISTS = [("LIST", "llm/metadata/tenants"), ("LIST", "llm/metadata/tenants/default/providers")]
READS = [("GET", DATA)]
WRITES = [("POST", DATA)]
REMOVES = [("DELETE", METADATA)]
SOFT_DELETES = [
    ("DELETE", DATA),
    ("POST", f"llm/delete/tenants/{PATH}"),
    ("POST", f"llm/undelete/tenants/{PATH}"),
    ("POST", f"llm/destroy/tenants/{PATH}"),
]
ELSEWHERE = [
    ("GET", "llm/config"),
    ("POST", "llm/config"),
    ("GET", "llm/data/other"),
    ("POST", "llm/data/tenants/default/other"),
    ("LIST", "llm/metadata"),
    ("GET", "sys/mounts"),
    ("POST", "sys/policies/acl/control"),
    ("PUT", "sys/seal"),
    ("GET", "auth/approle/role/provider-worker/role-id"),
    ("POST", "auth/token/create/any"),
    ("GET", "secret/data/any"),
]


async def used(reader: KeyReader, value: str) -> bool:
    return await reader.value(NAME) == Secret(value)


@pytest.mark.parametrize(
    ("role", "allowed", "refused"),
    [
        (
            "provider-worker",
            [*READS, ("LIST", FOLDER), ("GET", METADATA)],
            [*WRITES, *REMOVES, *SOFT_DELETES, *LISTS, *ELSEWHERE],
        ),
        (
            "control",
            [*WRITES, *LISTS, ("LIST", FOLDER), *REMOVES],
            [*READS, ("GET", METADATA), *SOFT_DELETES, *ELSEWHERE],
        ),
        (
            "nobody",
            [],
            [
                *READS,
                *WRITES,
                *REMOVES,
                *SOFT_DELETES,
                *LISTS,
                ("LIST", FOLDER),
                ("GET", METADATA),
                *ELSEWHERE,
            ],
        ),
    ],
)
def test_a_role_may_do_what_its_service_does_and_nothing_else(
    bao: OpenBao, role: str, allowed: list[tuple[str, str]], refused: list[tuple[str, str]]
) -> None:
    bao.put(PATH, api_key=CANARY)
    if role == "nobody":
        bao.role("nobody", policy="default")
    token = bao.token(role)
    body = {**WRITTEN, "versions": [1]}
    assert {(m, p): bao.status(token, m, p, body) for m, p in refused if m == "POST"} == {
        (m, p): 403 for m, p in refused if m == "POST"
    }
    assert {(m, p): bao.status(token, m, p) for m, p in refused if m != "POST"} == {
        (m, p): 403 for m, p in refused if m != "POST"
    }
    for method, path in allowed:
        status = bao.status(token, method, path, WRITTEN if method == "POST" else None)
        assert status in (200, 204), (method, path, status)


def test_without_a_token_there_is_nothing(bao: OpenBao) -> None:
    bao.put(PATH, api_key=CANARY)
    assert bao.status("", "GET", DATA) == 403
    assert bao.status("s.wrong", "GET", DATA) == 403


def test_the_policies_grant_nothing_wide(bao: OpenBao) -> None:
    for role in ("provider-worker", "control"):
        paths = bao.ask("GET", f"sys/policies/acl/{role}")["data"]["policy"]
        assert "sudo" not in paths
        assert "*" not in "".join(line for line in paths.splitlines() if not line.startswith("#"))


async def test_a_rotation_by_hand_is_noticed_by_polling(bao: OpenBao, opened: Opened) -> None:
    bao.put(PATH, api_key="old-value", weight="3")
    reader = await opened.reader(bao.settings("provider-worker", vault_soft_ttl_s=0.3))
    assert await used(reader, "old-value")
    assert [key.weight for key in await reader.keys("default", "openai")] == [3]
    bao.put(PATH, api_key="new-value")
    await within(2.0, lambda: used(reader, "new-value"))
    bao.put("default/providers/openai/second", api_key="x")

    async def both() -> bool:
        return [key.id for key in await reader.keys("default", "openai")] == ["env", "second"]

    await within(2.0, both)


@pytest.mark.parametrize("how", ["delete", "destroy"])
async def test_a_version_that_was_deleted_by_hand_is_used_no_more_and_again_once_it_is_back(
    bao: OpenBao, opened: Opened, how: str
) -> None:
    bao.put(PATH, api_key=CANARY)
    reader = await opened.reader(bao.settings("provider-worker", vault_soft_ttl_s=0.2))
    assert await used(reader, CANARY)
    bao.ask("POST", f"llm/{how}/tenants/{PATH}", {"versions": [1]})

    async def gone() -> bool:
        try:
            await reader.value(NAME)
        except KeyNotFound:
            return await reader.keys("default", "openai") == []
        return False

    await within(2.0, gone)
    if how == "delete":
        bao.ask("POST", f"llm/undelete/tenants/{PATH}", {"versions": [1]})
    else:
        bao.put(PATH, api_key=CANARY)

    async def back() -> bool:
        return len(await reader.keys("default", "openai")) == 1

    await within(2.0, back)


async def test_a_token_of_two_seconds_serves_for_longer_by_renewal_and_new_logins(
    own_bao: OpenBao, opened: Opened
) -> None:
    own_bao.put(PATH, api_key="value-0")
    own_bao.role("provider-worker", token_ttl="1s", token_max_ttl="2s")
    reader = await opened.reader(own_bao.settings("provider-worker", vault_soft_ttl_s=0.1))
    logins = metrics.VAULT_CALLS.labels("denied").value
    for number in range(1, 9):
        own_bao.put(PATH, api_key=f"value-{number}")
        await within(3.0, lambda n=number: used(reader, f"value-{n}"))
        await asyncio.sleep(0.6)  # time is what is under test: two life times of a token go by
    assert metrics.VAULT_CALLS.labels("denied").value == logins, (
        "no call was made with a token that had ended"
    )


async def test_a_token_that_is_revoked_underneath_is_replaced(
    bao: OpenBao, opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vault_client, "LOGIN_AGAIN_S", 0.0)
    caplog.set_level(logging.INFO, "keyrail")
    bao.put(PATH, api_key="old-value")
    reader = await opened.reader(bao.settings("provider-worker", vault_soft_ttl_s=0.2))
    writer = await opened.writer(bao.settings("control"))
    assert await used(reader, "old-value")
    bao.revoke_tokens()
    await writer.put("default", "openai", "env", Secret("new-value"))
    await within(3.0, lambda: used(reader, "new-value"))
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_kubernetes_auth_logs_in_with_the_token_of_the_service_account(
    bao: OpenBao, opened: Opened, tmp_path: Path
) -> None:
    good, jwt_file = service_account_token("vault"), tmp_path / "token"
    api = await ApiServer(good).start()
    bao.enable_kubernetes(api.port, api.ca_pem)
    bao.put(PATH, api_key=CANARY)
    settings = bao.settings(
        "provider-worker", vault_auth="kubernetes", vault_role="provider-worker", vault_jwt_file=jwt_file
    )
    jwt_file.write_text(service_account_token("other-audience"))
    opening = asyncio.ensure_future(opened.reader(settings))
    await eventually(lambda: metrics.VAULT_STATE.labels("denied").value == 1)
    assert not opening.done()
    jwt_file.write_text(good + "\n")
    reader = await asyncio.wait_for(opening, 10)
    assert await used(reader, CANARY)
    assert {"token": good, "audiences": ["vault"]} in api.reviews
    await api.stop()


async def test_a_sealed_server_stops_no_traffic_and_a_start_waits_for_it(
    own_bao: OpenBao, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "keyrail")
    own_bao.put(PATH, api_key="old-value")
    told = own_bao.settings("provider-worker", vault_soft_ttl_s=0.1, vault_hard_ttl_s=1.5)
    reader = await opened.reader(told)
    assert await used(reader, "old-value")
    own_bao.seal()
    await eventually(lambda: metrics.VAULT_STATE.labels("sealed").value == 1)
    assert await used(reader, "old-value")
    starting = asyncio.ensure_future(opened.reader(told))

    async def ended() -> bool:
        try:
            return not await used(reader, "old-value")
        except KeyStoreUnavailable as error:
            return "sealed" in str(error)

    await within(3.0, ended)
    assert not starting.done()
    own_bao.unseal()
    own_bao.put(PATH, api_key="new-value")
    assert await used(await asyncio.wait_for(starting, 10), "new-value")

    async def back() -> bool:
        try:
            return await used(reader, "new-value")
        except KeyStoreUnavailable:
            return False

    await within(10.0, back)


async def test_a_server_that_is_gone_stops_no_traffic(own_bao: OpenBao, opened: Opened) -> None:
    own_bao.put(PATH, api_key=CANARY)
    reader = await opened.reader(own_bao.settings("provider-worker", vault_soft_ttl_s=0.1))
    writer = await opened.writer(own_bao.settings("control"))
    assert await used(reader, CANARY)
    own_bao.stop()
    await eventually(lambda: metrics.VAULT_STATE.labels("unreachable").value == 1)
    assert await used(reader, CANARY)
    with pytest.raises(KeyStoreUnavailable, match="not reachable"):
        await writer.put("default", "openai", "env", Secret("x"))


async def test_a_rate_limit_of_the_server_stops_no_traffic(own_bao: OpenBao, opened: Opened) -> None:
    own_bao.put(PATH, api_key=CANARY)
    reader = await opened.reader(own_bao.settings("provider-worker", vault_soft_ttl_s=0.1))
    assert await used(reader, CANARY)
    own_bao.ask("POST", "sys/quotas/rate-limit/all", {"rate": 0.001, "path": "llm/"})
    await eventually(lambda: metrics.VAULT_STATE.labels("rate_limited").value == 1)
    assert await used(reader, CANARY)


async def test_a_mount_that_is_not_there_is_denied_and_not_an_empty_store(
    bao: OpenBao, opened: Opened
) -> None:
    writer = await opened.writer(bao.settings("control", vault_mount="nothing"))
    with pytest.raises(KeyStoreUnavailable):
        await writer.list()
    with pytest.raises(KeyStoreUnavailable):
        await writer.put("default", "openai", "env", Secret(CANARY))
    reader = await opened.reader(bao.settings("provider-worker", vault_mount="nothing"))
    with pytest.raises(KeyStoreUnavailable):
        await reader.keys("default", "openai")
