"""Contents from the stream to the ledger and out of it again, on a real nats-server and a real engine."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from nats.js import JetStreamContext
from support.attempts import started

from keyrail.contracts import streams, subjects
from keyrail.contracts.base import Json, encode_all, new_id, now_ms
from keyrail.contracts.contents import CHUNK, ContentKept, ContentQuery, ContentsQuery, DeleteContents, Part
from keyrail.contracts.ledger import AttemptsQuery, LedgerPage, Question
from keyrail_cost_accounting.app import CostAccounting
from keyrail_cost_accounting.ledger import ClickHouse, Ledger, LedgerUnavailable, Parameter
from keyrail_cost_accounting.metrics import Metrics

Ask = Callable[[Question], Awaitable[LedgerPage]]
Start = Callable[[Ledger], Awaitable[CostAccounting]]
DAY_MS = 86_400_000


def kept(**changes: object) -> ContentKept:
    now = now_ms()
    values: dict[str, object] = {
        "attempt_id": new_id(),
        "request_id": new_id(),
        "tenant": "acme",
        "team": "search",
        "provider": "openai",
        "model": "gpt-5.4-mini",
        "dialect": "openai-chat",
        "recipient": "age1x",
        "request": b"\x00sealed request\xff",
        "request_bytes": 10,
        "answer": b"\x00sealed answer\xff",
        "answer_bytes": 20,
        "started_ms": now,
        "expires_ms": now + 30 * DAY_MS,
    }
    return msgspec.convert(values | changes, ContentKept)


async def publish(js: JetStreamContext, *contents: ContentKept) -> None:
    for content in contents:
        await js.publish(subjects.CONTENT, content.encode())


async def taken(js: JetStreamContext) -> None:
    """Wait until every content that was published has been dealt with."""
    durable = streams.COST_ACCOUNTING_CONTENTS
    async with asyncio.timeout(15):
        while True:
            info = await js.consumer_info(durable.stream, durable.name)
            if not info.num_pending and not info.num_ack_pending:
                return
            await asyncio.sleep(0.01)


async def listed(ask: Ask, **query: Any) -> list[str]:
    page = await ask(ContentsQuery(**query))
    assert page.error is None
    return [str(row["attempt_id"]) for row in page.rows]


async def part(ask: Ask, content: ContentKept, name: Part) -> bytes | None:
    """All pieces of it, put together."""
    found, offset = b"", 0
    while True:
        query = ContentQuery(
            request_id=content.request_id, attempt_id=content.attempt_id, part=name, offset=offset
        )
        page = await ask(query)
        assert page.error is None
        if not page.rows:
            return None
        (row,) = page.rows
        found += base64.b64decode(str(row["data"]))
        if row["next"] is None:
            return found
        assert isinstance(row["next"], int)
        offset = row["next"]


async def deleted(ask: Ask, tenant: str, before_ms: int) -> tuple[int, LedgerPage]:
    """Ask until it is done: how many were removed, and the last answer."""
    mark, total = None, 0
    async with asyncio.timeout(30):
        while True:
            page = await ask(DeleteContents(tenant=tenant, before_ms=before_ms, mark=mark))
            assert page.error is None, page.error
            total += int(str(page.rows[0]["deleted"]))
            if page.rows[0]["done"]:
                return total, page
            assert page.cursor is not None
            mark = page.cursor


def rows(ledger: ClickHouse) -> int:
    """What is really in the table, seen or not."""
    return int(str(ledger.ask("SELECT count() AS n FROM contents", {})[0]["n"]))


async def test_what_was_published_is_listed_and_comes_back_byte_for_byte(
    ledger: ClickHouse, js: JetStreamContext, ask: Ask, start: Start
) -> None:
    await start(ledger)
    big = os.urandom(CHUNK + 1)
    first, second = kept(started_ms=now_ms() - 10), kept(request=big, answer=b"")
    third = kept(request=None, answer=big[:-1], tenant="third")
    await publish(js, first, second, third, first)
    await taken(js)
    page = await ask(ContentsQuery(tenant="acme"))
    assert [row["attempt_id"] for row in page.rows] == [first.attempt_id, second.attempt_id]
    assert "request" not in page.rows[0]
    assert page.rows[0]["request_bytes"] == 10
    assert page.rows[0]["has_answer"]
    assert await listed(ask, request_id=second.request_id) == [second.attempt_id]
    assert await listed(ask, request_id="no id") == await listed(ask, tenant="other") == []
    assert await listed(ask, tenant="acme", since_ms=second.started_ms) == [second.attempt_id]
    assert await part(ask, first, "request") == first.request
    assert await part(ask, second, "request") == big
    assert await part(ask, second, "answer") == b""
    assert await part(ask, third, "answer") == big[:-1]


async def test_a_part_that_was_left_out_is_not_there_and_its_size_is_known(
    ledger: ClickHouse, js: JetStreamContext, ask: Ask, start: Start
) -> None:
    await start(ledger)
    content = kept(answer=None, answer_bytes=40_000_000)
    await publish(js, content)
    await taken(js)
    (row,) = (await ask(ContentsQuery())).rows
    assert (row["has_answer"], row["answer_bytes"]) == (False, 40_000_000)
    assert await part(ask, content, "answer") is None
    assert await part(ask, content, "request") == content.request


async def test_what_has_expired_is_not_shown_and_leaves_the_disk(
    ledger: ClickHouse, js: JetStreamContext, ask: Ask, start: Start, metrics: Metrics
) -> None:
    await start(ledger)
    now = now_ms()
    soon, old = kept(expires_ms=now + 1_500), kept(started_ms=now - 2 * DAY_MS, expires_ms=now - DAY_MS)
    stays = kept()
    await publish(js, soon, old, stays)
    await taken(js)
    assert metrics.contents_dropped.labels("expired")._value.get() == 1  # pyright: ignore[reportPrivateUsage]
    assert rows(ledger) == 2
    async with asyncio.timeout(10):
        while soon.attempt_id in await listed(ask):
            await asyncio.sleep(0.1)
    assert await part(ask, soon, "request") is None
    await asyncio.to_thread(ledger.command, "OPTIMIZE TABLE contents FINAL")
    assert rows(ledger) == 1
    assert await listed(ask) == [stays.attempt_id]


async def test_a_deletion_takes_one_tenants_contents_and_no_others(
    ledger: ClickHouse, js: JetStreamContext, ask: Ask, start: Start
) -> None:
    await start(ledger)
    now = now_ms()
    mine = [kept(started_ms=now - 1_000 + n) for n in range(3)]
    newer, others = kept(started_ms=now - 500), kept(tenant="other", started_ms=now - 1_000)
    await publish(js, *mine, newer, others)
    await taken(js)
    total, page = await deleted(ask, "acme", now - 500)
    assert total == 3
    assert page.rows == [{"deleted": 3, "left": 0, "waiting": 0, "done": True}]
    assert sorted(await listed(ask)) == sorted([newer.attempt_id, others.attempt_id])
    assert rows(ledger) == 2, "really removed"
    assert (await deleted(ask, "acme", now - 500))[0] == 0
    assert (await deleted(ask, "acme", now))[0] == 1
    assert await listed(ask) == [others.attempt_id]


async def test_what_comes_after_a_deletion_and_began_before_it_gets_in_no_more(
    ledger: ClickHouse, js: JetStreamContext, ask: Ask, start: Start, metrics: Metrics
) -> None:
    await start(ledger)
    now = now_ms()
    assert (await deleted(ask, "acme", now))[0] == 0
    late, fresh, others = kept(started_ms=now - 1), kept(started_ms=now), kept(tenant="b", started_ms=now - 1)
    await publish(js, late, fresh, others)
    await taken(js)
    assert sorted(await listed(ask)) == sorted([fresh.attempt_id, others.attempt_id])
    assert rows(ledger) == 2
    assert metrics.contents_dropped.labels("deleted")._value.get() == 1  # pyright: ignore[reportPrivateUsage]


class Hindered:
    """A ledger whose contents can't be inserted, or only later."""

    def __init__(self, ledger: ClickHouse) -> None:
        self._ledger = ledger
        self.away = True
        self.tried = threading.Event()
        self.before_insert: Callable[[], None] = lambda: None

    def insert(self, table: str, columns: Sequence[str], block: bytes, token: str) -> None:
        if table == "contents":
            if self.away:
                self.tried.set()
                raise LedgerUnavailable("contents are away")
            self.before_insert()
        self._ledger.insert(table, columns, block, token)

    def ask(self, sql: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Json]]:
        return self._ledger.ask(sql, parameters)

    def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        self._ledger.command(sql, parameters)


async def test_a_deletion_waits_for_what_is_still_in_the_stream(
    ledger: ClickHouse, js: JetStreamContext, ask: Ask, start: Start
) -> None:
    hindered = Hindered(ledger)
    await start(hindered)
    now = now_ms()
    await publish(js, kept(started_ms=now - 5), kept(started_ms=now - 4))
    assert await asyncio.to_thread(hindered.tried.wait, 10)
    page = await ask(DeleteContents(tenant="acme", before_ms=now))
    assert page.rows == [{"deleted": 0, "left": 0, "waiting": 2, "done": False}]
    assert page.cursor is not None
    hindered.away = False
    assert (await deleted(ask, "acme", now))[1].rows[0]["done"]
    assert rows(ledger) == 0


async def test_an_insert_that_did_not_see_a_deletion_is_taken_back(
    ledger: ClickHouse, js: JetStreamContext, ask: Ask, start: Start
) -> None:
    """The deletion is written down, and its rows are removed, between the look and the insert."""
    hindered = Hindered(ledger)
    hindered.away = False
    now = now_ms()

    def delete_first() -> None:
        hindered.before_insert = lambda: None
        ledger.command(
            "INSERT INTO contents_deleted"
            " SELECT 'acme', fromUnixTimestamp64Milli({at:Int64}, 'UTC'), now64(3)",
            {"at": now},
        )

    hindered.before_insert = delete_first
    await start(hindered)
    stays = kept(tenant="other", started_ms=now - 1)
    await publish(js, kept(started_ms=now - 1), stays)
    await taken(js)
    assert rows(ledger) == 1
    assert await listed(ask) == [stays.attempt_id]


async def test_what_cannot_be_read_is_put_aside_without_its_body(
    ledger: ClickHouse, js: JetStreamContext, ask: Ask, start: Start
) -> None:
    dead = await js.subscribe(subjects.DEAD_LETTERS)
    await start(ledger)
    secret = b"canary-in-a-message-that-is-none"
    bad = [secret, b'{"event":"content.kept","attempt_id":"%b"}' % secret, b'{"event":"%b"}' % secret]
    for data in bad:
        await js.publish(subjects.CONTENT, data)
    good = kept()
    await publish(js, good)
    await taken(js)
    assert await listed(ask) == [good.attempt_id]
    for data in bad:
        letter = await dead.next_msg(timeout=5)
        assert letter.data == b""
        assert letter.headers is not None
        assert letter.headers["Keyrail-Bytes"] == str(len(data))
        assert letter.headers["Keyrail-Subject"] == subjects.CONTENT
        assert "canary" not in str(letter.headers)


async def test_contents_that_do_not_get_in_keep_no_event_waiting(
    ledger: ClickHouse, js: JetStreamContext, ask: Ask, start: Start
) -> None:
    hindered = Hindered(ledger)
    await start(hindered)
    await publish(js, *(kept() for _ in range(20)))
    for _ in range(3):
        event = started()
        began = time.monotonic()
        await js.publish(subjects.EVENT_ATTEMPT, encode_all([event]))
        while event.attempt_id not in {
            str(row["attempt_id"]) for row in (await ask(AttemptsQuery(tenant="acme"))).rows
        }:
            assert time.monotonic() - began < 5
    assert rows(ledger) == 0
    hindered.away = False
    await taken(js)
    assert len(await listed(ask)) == 20


async def test_a_deletion_that_nobody_can_make_says_so(
    ledger: ClickHouse, ask: Ask, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    hindered = Hindered(ledger)
    await start(hindered)

    def away(sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(hindered, "command", away)
    page = await ask(DeleteContents(tenant="acme", before_ms=now_ms()))
    assert page.error == "the ledger does not answer at the moment"
    page = await ask(DeleteContents(tenant="acme", before_ms=now_ms(), mark="nonsense"))
    assert page.error is not None
    assert "mark" in page.error
