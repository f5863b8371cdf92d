"""Prices over the admin API: what is in force, an edit of the text in force, and slices of attempts."""

from __future__ import annotations

from typing import Any

import pytest
from support.control import Begin, Home, Ledger

from keyrail.contracts.base import Json
from keyrail.contracts.ledger import CostsQuery, LedgerPage
from keyrail.contracts.repricing import PricesQuery, RepriceQuery, WhatIfQuery

TEXT = """\
# ours
providers:
  mine: {base_url: 'http://127.0.0.1:9/v1', needs_key: false}  # here
routes:
  fast: {strategy: fallback, targets: [mine/m, openai/gpt-5.4]}
"""
NEW = {"provider": "mine", "model": "m", "input": "2.50", "output": 15}


async def test_a_price_is_an_edit_of_the_text_in_force(begin: Begin, home: Home) -> None:
    home.config.write_text(TEXT)
    control = await begin()
    dry = await control.post("/v1/prices", NEW | {"dry_run": True})
    assert (dry["revision"], dry["changed"]) == (1, True)
    assert (await control.get("/v1/config"))["text"] == TEXT

    done = await control.post("/v1/prices", NEW)
    assert (done["revision"], done["changed"], done["diff"]) == (2, True, dry["diff"])
    now = await control.get("/v1/config")
    assert now["text"] == TEXT.replace("false}", "false, prices: {m: {input: 2.50, output: 15}}}")
    assert now["differs_from_file"] is True
    again = await control.post("/v1/prices", NEW)
    assert (again["revision"], again["changed"], again["diff"]) == (2, False, "")
    rows = await control.rows("/v1/prices?provider=mine")
    assert [(row["model"], row["source"], row["version"], row["input"]) for row in rows] == [
        ("m", "configured", "2", "2.5")
    ]


async def test_somebody_elses_change_is_not_overwritten(
    begin: Begin, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between reading the text and publishing the edit."""
    home.config.write_text(TEXT)
    control, other = await begin(), await begin()
    theirs = TEXT + "output_cap: 5\n"
    configuration = control.control._configuration  # pyright: ignore[reportPrivateUsage]
    checked = configuration._checked  # pyright: ignore[reportPrivateUsage]

    async def slowly(text: str, filename: str) -> Any:
        await other.post("/v1/config/apply", {"text": theirs})
        return await checked(text, filename)

    monkeypatch.setattr(configuration, "_checked", slowly)
    assert "somebody else" in str(await control.post("/v1/prices", NEW, expect=409))
    assert (await control.get("/v1/config"))["text"] == theirs


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({"provider": "nobody"}, 404, "no such provider"),
        ({"input": "NaN"}, 400, "input"),
        ({"input": -1}, 400, "input: must be"),
        ({"from": "2026-12-01"}, 400, "no price here yet"),
        ({"model": "a b"}, 400, "the configuration has"),
        ({"surprise": 1}, 400, "unknown field"),
    ],
)
async def test_what_makes_no_sense_changes_nothing(
    begin: Begin, home: Home, changes: dict[str, object], status: int, why: str
) -> None:
    home.config.write_text(TEXT)
    control = await begin()
    assert why in str(await control.post("/v1/prices", NEW | changes, expect=status))
    assert (await control.get("/v1/config"))["revision"] == 1


async def test_the_ledger_says_which_models_were_used_and_a_list_does_without(
    begin: Begin, home: Home, ledger: Ledger
) -> None:
    home.config.write_text(TEXT)
    control = await begin()
    answers: dict[type, LedgerPage] = {
        CostsQuery: LedgerPage(rows=[{"provider": "groq", "model": "llama-3.1-8b-instant"}]),
        PricesQuery: LedgerPage(rows=[{"revision": 1, "model": "gpt-5.4"}]),
    }
    ledger.page = lambda asked: answers[type(asked.query)]
    rows = await control.rows("/v1/prices")
    assert [f"{row['provider']}/{row['model']}" for row in rows] == [
        "groq/llama-3.1-8b-instant",
        "mine/m",
        "openai/gpt-5.4",
    ]
    assert [tier["above_tokens"] for tier in rows[2]["tiers"]] == [272_000]
    history = await control.rows("/v1/prices/history?provider=openai&model=gpt-5.4")
    assert [row["source"] for row in history] == ["configured", "catalogue"]


async def test_slices_are_asked_with_times_that_mean_the_same_each_time(
    begin: Begin, home: Home, ledger: Ledger
) -> None:
    home.config.write_text(TEXT)
    control = await begin()
    row: dict[str, Json] = {"revision": 1, "catalogue": "0", "digest": "d", "models": [], "written": 0}
    answers: dict[type, LedgerPage] = {
        RepriceQuery: LedgerPage(rows=[row], cursor="5 "),
        WhatIfQuery: LedgerPage(rows=[row]),
    }
    ledger.page = lambda asked: answers[type(asked.query)]
    first = await control.post("/v1/reprice", {"since": "90s"})
    assert first["cursor"] == "5 "
    body = {name: first[name] for name in ("since", "until", "cursor")}
    await control.post("/v1/reprice", body | {"to": "6 ", "digest": "d", "write": True})
    one, two = (each.query for each in ledger.asked if isinstance(each.query, RepriceQuery))
    assert two == one.replace(cursor="5 ", to="6 ", digest="d", write=True)
    await control.post("/v1/reprice", {"since": "90s", "write": True}, expect=400)

    answers[RepriceQuery] = LedgerPage(rows=[row | {"stale": True}], cursor="6 ")
    said = await control.post("/v1/reprice", body | {"to": "6 ", "write": True}, expect=409)
    assert "run it again" in str(said)

    contract = TEXT.replace("false}", "false, prices: {m: {input: 1, output: 2}}}")
    await control.post("/v1/whatif", {"since": "1h", "contract": contract})
    query = ledger.asked[-1].query
    assert isinstance(query, WhatIfQuery)
    assert query.terms is not None
    assert query.terms["mine"].prices["m"].output == 2
    said = await control.post("/v1/whatif", {"since": "1h", "contract": "routes: 5"}, expect=400)
    assert said["problems"][0]["line"] == 1
    for wrong in ({}, {"model": "m"}, {"model": "openai/x", "until": "2h"}):
        await control.post("/v1/whatif", {"since": "1h"} | wrong, expect=400)
