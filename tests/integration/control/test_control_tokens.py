"""Virtual keys over the admin API, as ingress will see them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from support.control import Begin, Controlled

from keyrail.bus.views import KvView
from keyrail.contracts import streams
from keyrail.contracts.budgets import Budget, Limits
from keyrail.contracts.config import TokenRecord
from keyrail.keys import virtual
from keyrail.keys.virtual import Issued
from keyrail_control.buckets import Bucket
from keyrail_control.errors import Conflict
from keyrail_control.virtual_keys import VirtualKeys


async def stored(control: Controlled, id: str) -> TokenRecord:
    entry = await Bucket(control.bus, streams.TOKENS.name).get(id)
    assert entry is not None
    return TokenRecord.decode(entry.value)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def test_a_key_is_issued_with_all_that_it_may_do_and_listed_without_its_secret(begin: Begin) -> None:
    control = await begin()
    issued = await control.post(
        "/v1/tokens",
        {
            "tenant": "acme",
            "team": "search",
            "feature": "answers",
            "tags": False,
            "models": ["openai/*", "fast"],
            "rpm": 60,
            "tpm": 100_000,
            "concurrent": 5,
            "budgets": ["10/day", "5.50/day/soft", "100"],
            "expires": "30d",
        },
        expect=201,
    )

    assert virtual.parse(issued["key"]) == issued["id"]
    assert issued["budgets"] == ["10/day", "5.5/day/soft", "100/month"]
    assert issued["expires_ms"] == pytest.approx(issued["created_ms"] + 30 * 86_400_000, abs=1000)
    (row,) = [each for each in await control.rows("/v1/tokens") if each["id"] == issued["id"]]
    assert row == {name: value for name, value in issued.items() if name != "key"}
    record = await stored(control, issued["id"])
    assert record.sha256 == digest(issued["key"])
    assert record.limits == Limits(rpm=60, tpm=100_000, concurrent=5)
    assert record.budgets[1] == Budget(usd=record.budgets[1].usd, per="day", soft=True)
    assert (record.tenant, record.team, record.feature, record.tags) == ("acme", "search", "answers", False)


async def test_the_first_key_is_let_in_once_and_what_became_of_it_survives_a_restart(begin: Begin) -> None:
    control = await begin()
    (first,) = await control.rows("/v1/tokens")
    await control.delete(f"/v1/tokens/{first['id']}")

    again = await begin()

    (row,) = await again.rows("/v1/tokens")
    assert row["id"] == first["id"]
    assert row["revoked"] is True


async def test_a_rotation_keeps_the_id_and_lets_the_secret_before_in_for_as_long_as_was_asked(
    begin: Begin,
) -> None:
    control = await begin()
    issued = await control.post("/v1/tokens", {"budgets": ["10/day"]}, expect=201)

    rotated = await control.post(f"/v1/tokens/{issued['id']}/rotate", {"overlap": "24h"})

    assert rotated["id"] == virtual.parse(rotated["key"]) == issued["id"]
    record = await stored(control, issued["id"])
    assert (record.sha256, record.previous_sha256) == (digest(rotated["key"]), digest(issued["key"]))
    assert record.previous_until_ms == rotated["previous_until_ms"]
    assert rotated["previous_until_ms"] == pytest.approx(issued["created_ms"] + 86_400_000, abs=10_000)
    assert len(record.budgets) == 1

    at_once = await control.post(f"/v1/tokens/{issued['id']}/rotate")

    record = await stored(control, issued["id"])
    assert at_once["previous_until_ms"] is record.previous_until_ms is record.previous_sha256 is None
    assert record.sha256 == digest(at_once["key"])


async def test_a_revoked_key_reaches_who_watches_and_can_not_be_rotated(begin: Begin) -> None:
    control = await begin()
    issued = await control.post("/v1/tokens", {}, expect=201)
    await control.post(f"/v1/tokens/{issued['id']}/rotate", {"overlap": "1h"})

    row = await control.delete(f"/v1/tokens/{issued['id']}")

    assert (row["revoked"], row["previous_until_ms"]) == (True, None)
    seen: dict[str, TokenRecord] = {}
    view = KvView(control.bus, streams.TOKENS.name, lambda k, v: seen.__setitem__(k, TokenRecord.decode(v)))
    view.start()
    await view.loaded.wait()
    await view.stop()
    assert seen[issued["id"]].revoked
    assert seen[issued["id"]].previous_sha256 is None
    refused = await control.post(f"/v1/tokens/{issued['id']}/rotate", {}, expect=409)
    assert "revoked" in refused["error"]["message"]


@pytest.mark.parametrize("id", ["00000000", "x", "a.b", "*", "%3E", "..%2F"])
async def test_a_key_that_nobody_issued_is_not_found(begin: Begin, id: str) -> None:
    control = await begin()
    await control.post(f"/v1/tokens/{id}/rotate", {}, expect=404)
    await control.delete(f"/v1/tokens/{id}", expect=404)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"rpm": 0}, "rpm"),
    ({"rpm": "7CANARY"}, "rpm"),
    ({"rpm": 1.5}, "rpm"),
    ({"tpm": True}, "tpm"),
    ({"models": ["a", 1]}, "models[1]"),
    ({"models": [" CANARY"]}, "models[0]"),
    ({"tenant": "CANARY Acme"}, "tenant"),
    ({"team": "CANARY\n"}, "team"),
    ({"budgets": ["10/CANARY"]}, "budgets[0]"),
    ({"budgets": ["10/day", "0"]}, "budgets[1]"),
    ({"budgets": ["10/day", "11/day"]}, "budgets[1]"),
    ({"budgets": "CANARY"}, "budgets"),
    ({"expires": "CANARY"}, "expires"),
    ({"expires": "2020-01-01T00:00:00Z"}, "expires"),
    ({"expires": "2999-01-01T00:00:00"}, "expires"),
    ({"expires": "999999d"}, "expires"),
    ({"CANARY-7": 1}, "unknown field"),
    ({"budget": ["10"]}, "unknown field: budget"),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("body", "named"), WRONG, ids=[str(n) for n in range(len(WRONG))])
async def test_what_is_wrong_is_named_and_never_repeated(
    wrong_for: Controlled, body: dict[str, Any], named: str
) -> None:
    before = await wrong_for.rows("/v1/tokens")

    refused = await wrong_for.post("/v1/tokens", body, expect=400)

    assert named in refused["error"]["message"]
    assert "CANARY" not in str(refused)
    assert await wrong_for.rows("/v1/tokens") == before


async def test_an_id_that_is_taken_is_never_given_again(begin: Begin) -> None:
    control = await begin()
    ids = iter(["aaaaaaaa", "aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])

    def issue(id: str | None) -> Issued:
        return virtual.issue(id or next(ids))

    keys = VirtualKeys(Bucket(control.bus, streams.TOKENS.name), issue)
    wanted = TokenRecord(id="", sha256="", created_ms=0)
    first, _ = await keys.issue(wanted)
    second, _ = await keys.issue(wanted)
    assert (first.id, second.id) == ("aaaaaaaa", "bbbbbbbb")
    assert (await stored(control, "aaaaaaaa")).sha256 == first.sha256


async def test_ids_that_are_always_taken_are_an_error(begin: Begin) -> None:
    control = await begin()
    keys = VirtualKeys(Bucket(control.bus, streams.TOKENS.name), lambda id: virtual.issue("aaaaaaaa"))
    wanted = TokenRecord(id="", sha256="", created_ms=0)
    await keys.issue(wanted)
    with pytest.raises(Conflict):
        await keys.issue(wanted)
