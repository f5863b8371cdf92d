"""Revisions of the configuration over the admin API."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal

import pytest
from support.control import Begin, Controlled, Home, Ledger
from support.nats import NatsServer

from keyrail.bus.connection import Bus
from keyrail.config.problems import ConfigError
from keyrail.contracts import streams
from keyrail.contracts.base import now_ms
from keyrail.contracts.budgets import Lease, SpendDocument, document_key, tenant_scope
from keyrail.contracts.config import ConfigView
from keyrail.contracts.ledger import LedgerPage, SpendQuery
from keyrail_control import catalogue, configuration
from keyrail_control import revisions as revisions_module
from keyrail_control.buckets import Bucket
from keyrail_control.revisions import Revisions, source_of

A = "aliases: {fast: openai/gpt-5}\n"
B = "aliases: {fast: groq/llama}\n"
C = "aliases: {fast: mistral/large}\n"
BAD = "aliases:\n  fast: nobody/x\n"


async def fast(control: Controlled) -> str:
    """What the revision in force says, as the services see it."""
    entry = await Bucket(control.bus, streams.CONFIG.name).get("current")
    assert entry is not None
    return ConfigView.decode(entry.value).aliases["fast"]


async def history(control: Controlled) -> list[tuple[int, int | None]]:
    return [(row["revision"], row["from_revision"]) for row in await control.rows("/v1/config/history")]


async def test_a_text_is_checked_applied_listed_and_rolled_back(begin: Begin, home: Home) -> None:
    home.config.write_text(A)
    control = await begin()

    assert await control.post("/v1/config/check", {"text": B}) == {"ok": True, "problems": []}
    assert await fast(control) == "openai/gpt-5"
    assert await control.post("/v1/config/apply", {"text": B, "filename": "b.yaml"}) == {
        "revision": 2,
        "changed": True,
    }
    assert await fast(control) == "groq/llama"
    now = await control.get("/v1/config")
    assert (now["revision"], now["text"], now["filename"]) == (2, B, "b.yaml")
    assert now["differs_from_file"] is True

    assert await control.post("/v1/config/rollback", {"revision": 1}) == {
        "revision": 3,
        "from_revision": 1,
        "changed": True,
    }
    assert await fast(control) == "openai/gpt-5"
    assert await history(control) == [(3, 1), (2, None), (1, None)]
    now = await control.get("/v1/config")
    assert (now["text"], now["filename"], now["differs_from_file"]) == (A, "keyrail.yaml", False)
    await control.post("/v1/config/rollback", {"revision": 9}, expect=404)


async def test_problems_come_with_their_lines_and_nothing_is_applied(begin: Begin, home: Home) -> None:
    home.config.write_text(A)
    control = await begin()

    checked = await control.post("/v1/config/check", {"text": BAD})
    refused = await control.post("/v1/config/apply", {"text": BAD}, expect=400)

    assert checked["ok"] is False
    assert [problem["line"] for problem in checked["problems"]] == [2]
    assert refused["problems"] == checked["problems"]
    assert refused["error"]["message"]
    assert await fast(control) == "openai/gpt-5"


async def test_the_same_in_other_words_is_no_new_revision_but_its_text_is_kept(begin: Begin) -> None:
    control = await begin()
    first = await control.post("/v1/config/apply", {"text": A})
    worded = "# why\n" + A
    assert await control.post("/v1/config/apply", {"text": worded}) == first | {"changed": False}
    assert (await control.get("/v1/config"))["text"] == worded


async def test_what_was_applied_survives_a_restart_until_the_file_changes(
    begin: Begin, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.config.write_text(A)
    first = await begin()
    await first.post("/v1/config/apply", {"text": B})
    await first.stop()

    with caplog.at_level(logging.WARNING):
        second = await begin()
    assert await fast(second) == "groq/llama"
    assert any("is not the file" in record.message for record in caplog.records)
    await second.post("/v1/config/rollback", {"revision": 1})
    await second.post("/v1/config/rollback", {"revision": 2})

    third = await begin()
    assert await fast(third) == "groq/llama"
    home.config.write_text(C)
    fourth = await begin()
    assert await fast(fourth) == "mistral/large"
    assert (await fourth.get("/v1/config"))["differs_from_file"] is False
    assert [number for number, _ in await history(fourth)] == [5, 4, 3, 2, 1]


async def test_a_bad_file_stops_the_start_even_if_it_would_not_be_in_force(begin: Begin, home: Home) -> None:
    control = await begin()
    await control.post("/v1/config/apply", {"text": B})
    home.config.write_text(BAD)
    with pytest.raises(ConfigError):
        await begin()
    assert await fast(control) == "groq/llama"


async def test_a_start_with_another_sandbox_derives_what_is_in_force_anew(begin: Begin) -> None:
    first = await begin(sandbox_url="http://127.0.0.1:1/v1")
    await first.post("/v1/config/apply", {"text": B})

    second = await begin(sandbox_url="http://127.0.0.1:2/v1")

    now = await second.get("/v1/config")
    assert (now["revision"], now["text"]) == (3, B)
    rows = await second.rows("/v1/providers")
    assert [row["base_url"] for row in rows if row["provider"] == "sandbox"] == ["http://127.0.0.1:2/v1"]


async def test_two_controls_at_once_make_no_two_equal_revisions(nats: NatsServer) -> None:
    buses = [await nats.bus("control") for _ in range(2)]
    many = [Revisions(Bucket(bus, streams.CONFIG.name)) for bus in buses]
    texts = [f"aliases: {{fast: openai/model-{n}}}\n" for n in range(12)]
    views = [catalogue.view(text, "f", sandbox_url=None, with_key=()) for text in texts]

    published = await asyncio.gather(
        *(many[n % 2].publish(view, source_of(texts[n], "f")) for n, view in enumerate(views))
    )

    assert all(each.changed for each in published)
    numbers = [each.view.revision for each in published]
    assert len(set(numbers)) == len(numbers)
    past = await many[0].past()
    assert [number for number, _ in past] == sorted(numbers, reverse=True)
    by_number = {each.view.revision: each.view.aliases["fast"] for each in published}
    for number, source in past:
        assert by_number[number] in source.text
        entry = await Bucket(buses[0], streams.CONFIG.name).get(f"revision.{number}")
        assert entry is not None
        assert ConfigView.decode(entry.value).aliases["fast"] == by_number[number]
    left = await Bucket(buses[0], streams.CONFIG.name).all("source.*")
    assert set(left) == {f"source.{number}" for number in numbers}
    for bus in buses:
        await bus.close()


async def test_what_is_derived_from_a_revision_does_not_undo_a_later_one(nats: NatsServer) -> None:
    bus = await nats.bus("control")
    revisions = Revisions(Bucket(bus, streams.CONFIG.name))
    first, second = (catalogue.view(text, "f", sandbox_url=None, with_key=()) for text in (A, B))
    await revisions.publish(first, source_of(A, "f"))
    await revisions.publish(second, source_of(B, "f"))

    late = await revisions.publish(first, source_of(A, "f"), over=1)

    assert (late.changed, late.view.revision) == (False, 2)
    await bus.close()


async def test_only_the_newest_revisions_are_kept(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions_module, "KEPT", 5)
    bus = await nats.bus("control")
    bucket = Bucket(bus, streams.CONFIG.name)
    revisions = Revisions(bucket)
    for number in range(8):
        view = ConfigView(aliases={"fast": f"openai/{number}"})
        await revisions.publish(view, source_of(str(number), "f"))
    numbers = [number for number, _ in await revisions.past()]
    assert numbers == [8, 7, 6, 5, 4]
    assert set(await bucket.all("revision.*")) == {f"revision.{number}" for number in numbers}
    await bus.close()


# budgets that are new

BUDGETS = """\
tenants:
  acme:
    budgets: [50/day, 9/day/soft]
    teams: {search: {budgets: [5/month]}}
"""


async def documents(bus: Bus) -> dict[str, SpendDocument]:
    entries = await Bucket(bus, streams.BUDGETS.name).all()
    return {key: SpendDocument.decode(entry.value) for key, entry in entries.items()}


async def test_a_budget_that_is_new_begins_with_what_the_ledger_says_was_spent(
    begin: Begin, ledger: Ledger
) -> None:
    control = await begin()
    before = now_ms()

    await control.post("/v1/config/apply", {"text": BUDGETS})

    now = now_ms()
    day = document_key("tenant.acme", "day", now)
    month = document_key("team.acme.search", "month", now)
    made = await documents(control.bus)
    assert {key: document.closed_usd for key, document in made.items()} == {
        day: Decimal("1.25"),
        month: Decimal("1.25"),
    }
    assert all(before <= (document.seeded_ms or 0) <= now for document in made.values())
    asked = [each.query for each in ledger.asked]
    assert {(q.tenant, q.team) for q in asked if isinstance(q, SpendQuery)} == {
        ("acme", None),
        ("acme", "search"),
    }
    rows = await control.rows("/v1/budgets")
    assert [(row["scope"], row["period"], row["soft"], row["left_usd"]) for row in rows] == [
        ("tenant.acme", "day", False, "48.75"),
        ("tenant.acme", "day", True, "7.75"),
        ("team.acme.search", "month", False, "3.75"),
    ]


async def test_what_is_known_of_a_budget_is_never_overwritten_and_old_ones_are_not_asked_for(
    begin: Begin, ledger: Ledger
) -> None:
    control = await begin()
    known = SpendDocument(closed_usd=Decimal(3), leases={"r": Lease(granted=Decimal(1))})
    key = document_key(tenant_scope("acme"), "day", now_ms())
    await Bucket(control.bus, streams.BUDGETS.name).put(key, known.encode())

    await control.post("/v1/config/apply", {"text": BUDGETS})
    assert (await documents(control.bus))[key] == known
    assert len(ledger.asked) == 1
    await control.post("/v1/config/apply", {"text": A + BUDGETS})
    assert len(ledger.asked) == 1
    row = (await control.rows("/v1/budgets"))[0]
    assert (row["spent_usd"], row["committed_usd"], row["left_usd"]) == ("3", "4", "46")


@pytest.mark.parametrize("answer", ["silent", "error", "unknown"])
async def test_without_the_ledger_no_new_budget_is_applied(
    begin: Begin, nats: NatsServer, answer: str
) -> None:
    control = await begin()
    if answer != "silent":
        ledger = await Ledger.start(nats)
        page = LedgerPage(error="no") if answer == "error" else LedgerPage(rows=[{"cost_usd": None}])
        ledger.page = lambda query: page

    await control.post("/v1/config/apply", {"text": BUDGETS}, expect=503)

    assert (await control.get("/v1/config"))["revision"] == 1
    assert await documents(control.bus) == {}


async def test_a_start_waits_for_the_ledger_and_goes_on_without_it(
    begin: Begin, home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(configuration, "PATIENCE_S", 0.3)
    home.config.write_text(BUDGETS)

    control = await begin()

    assert len(await control.rows("/v1/budgets")) == 3
    assert [r for r in caplog.records if r.levelno == logging.ERROR and "ledger" in r.message]


async def test_a_start_counts_what_was_spent_as_soon_as_the_ledger_answers(
    begin: Begin, home: Home, nats: NatsServer
) -> None:
    home.config.write_text(BUDGETS)
    starting = asyncio.ensure_future(begin())
    await asyncio.wait({starting}, timeout=0.5)
    assert not starting.done()

    ledger = await Ledger.start(nats)

    control = await starting
    assert {row["spent_usd"] for row in await control.rows("/v1/budgets")} == {"1.25"}
    await ledger.bus.close()
