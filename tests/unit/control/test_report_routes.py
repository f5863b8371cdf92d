"""Routes of reports: what becomes of a request, and what is refused before the ledger is asked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from keyrail.contracts.base import now_ms
from keyrail.contracts.ledger import LedgerPage, LedgerQuery
from keyrail.contracts.reports import KeySumsQuery, ReportLine, ReportLinesQuery, StoreReport
from keyrail_control.api.handler import Answer, Api
from keyrail_control.api.reports import ReportRoutes

ID = "0190a000-0000-5000-8000-00000000000a"
LINE = {"day": "2026-11-01", "kind": "cost", "source": "openai-costs", "cost_usd": "0.000000000001"}


@dataclass
class Ledger:
    asked: list[LedgerQuery] = field(default_factory=list[LedgerQuery])

    async def __call__(self, query: LedgerQuery) -> LedgerPage:
        self.asked.append(query)
        return LedgerPage(rows=[{"day": "2026-11-01"}], cursor="c")


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


async def call(
    ledger: Ledger, method: str, path: str, query: str = "", body: object = None
) -> tuple[int, Any]:
    api = Api(ReportRoutes(ledger).routes(), hashlib.sha256(b"t").hexdigest())
    match = api.admit(method, path, b"Bearer t")
    assert not isinstance(match, Answer)
    content = b"" if body is None else json.dumps(body).encode()
    answer = await api.answer(match, query.encode(), "application/json", content)
    return answer.status, json.loads(answer.body)


async def test_lines_are_kept_as_they_came(ledger: Ledger) -> None:
    at = now_ms()
    body = {"import_id": ID, "imported_ms": at, "lines": [LINE]}
    assert await call(ledger, "POST", "/v1/reports/openai", body=body) == (200, {"stored": 1})
    line = ReportLine(
        day="2026-11-01", kind="cost", source="openai-costs", cost_usd=Decimal("0.000000000001")
    )
    assert [each.query for each in ledger.asked] == [
        StoreReport(provider="openai", import_id=ID, imported_ms=at, lines=[line])
    ]


async def test_days_become_questions(ledger: Ledger) -> None:
    days = "from=2026-11-01&to=2026-11-30&cursor=x"
    rows = {"rows": [{"day": "2026-11-01"}], "cursor": "c"}
    assert await call(ledger, "GET", "/v1/reports/openai", days) == (200, rows)
    assert await call(ledger, "GET", "/v1/reports/openai/ledger", days) == (200, rows)
    given = {"provider": "openai", "since_day": "2026-11-01", "until_day": "2026-11-30", "cursor": "x"}
    assert [each.query for each in ledger.asked] == [ReportLinesQuery(**given), KeySumsQuery(**given)]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "from=2026-11-01",
        "from=2026-11-02&to=2026-11-01",
        "from=2026-11-1&to=2026-11-02",
        "from=20261101&to=2026-11-02",
        "from=2025-01-01&to=2026-11-01",
        "from=2026-11-01&to=2026-11-02&x=1",
    ],
)
async def test_days_that_are_none_are_refused(ledger: Ledger, query: str) -> None:
    assert (await call(ledger, "GET", "/v1/reports/openai/ledger", query))[0] == 400
    assert ledger.asked == []


@pytest.mark.parametrize(
    "changes",
    [
        {"import_id": "x"},
        {"imported_ms": 0},
        {"imported_ms": 9_999_999_999_999},
        {"lines": [LINE] * 1001},
        {"lines": [LINE | {"day": "2026-13-01"}]},
        {"lines": [LINE | {"kind": "guess"}]},
        {"lines": [LINE | {"cost_usd": "much"}]},
        {"more": 1},
    ],
    ids=["id", "time", "ahead", "many", "day", "kind", "money", "field"],
)
async def test_an_import_that_is_none_is_refused(ledger: Ledger, changes: dict[str, object]) -> None:
    body = {"import_id": ID, "imported_ms": 1, "lines": [LINE]} | changes
    assert (await call(ledger, "POST", "/v1/reports/openai", body=body))[0] == 400
    assert ledger.asked == []


async def test_a_provider_has_a_name(ledger: Ledger) -> None:
    body = {"import_id": ID, "imported_ms": 1, "lines": [LINE]}
    assert (await call(ledger, "POST", "/v1/reports/Open%20AI", body=body))[0] == 400
