from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from keyrail.contracts.base import Json
from keyrail.contracts.ledger import PAGE, AttemptsQuery, CostsQuery, Grouping, RequestQuery
from keyrail_cost_accounting import costs, memory, queries
from keyrail_cost_accounting.migrate import Migration, MigrationChanged, pending, shipped
from keyrail_cost_accounting.queries import BadCursor, Record

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def attempt(**changes: Json) -> Record:
    row: Record = {
        "attempt_id": "0190a000-0000-7000-8000-00000000000a",
        "request_id": "r",
        "status": "ok",
        "provider": "openai",
        "model": "m",
        "route": None,
        "stream": False,
        "tenant": "t",
        "key_id": "k",
        "team": None,
        "feature": None,
        "epoch": 1,
        "cost_usd": "0.1",
        "started_at": "2026-01-01T11:58:00.000Z",
        "settled_at": "2026-01-01T11:59:30.000Z",
    }
    return row | changes


def test_values_of_a_question_are_never_part_of_the_sql() -> None:
    evil = "'; DROP TABLE attempts --"
    statements = [
        costs.costs(CostsQuery(by="team", tenant=evil, cursor=evil), 0),
        queries.attempts(AttemptsQuery(tenant=evil)),
        *(
            queries.request(RequestQuery(tenant=evil, request_id="0190a000-0000-7000-8000-00000000000a"))
            or ()
        ),
        queries.lost([evil], 1),
    ]
    for statement in statements:
        assert "DROP" not in statement.sql
        assert evil in str(statement.parameters)


def test_every_grouping_of_the_contract_is_served() -> None:
    assert set(costs.GROUPS) == set(get_args(Grouping))


@pytest.mark.parametrize(
    "cursor", ["", "x", "2026-01-01T11:58:00.000Z", "2026-01-01T11:58:00.000Z x", "a b c"]
)
def test_a_cursor_of_someone_else_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        queries.attempts(AttemptsQuery(cursor=cursor))


def test_a_page_says_where_the_next_one_starts() -> None:
    rows = [attempt() for _ in range(PAGE + 1)]

    first = queries.page(AttemptsQuery(), rows)
    last = queries.page(AttemptsQuery(), rows[:3])

    assert first.cursor == "2026-01-01T11:58:00.000Z 0190a000-0000-7000-8000-00000000000a"
    assert queries.attempts(AttemptsQuery(cursor=first.cursor)).parameters["at"] == 1767268680000
    assert (len(last.rows), last.cursor) == (3, None)


def test_a_page_stays_below_a_message() -> None:
    rows = [attempt(detail="x" * 100_000) for _ in range(20)]

    page = queries.page(AttemptsQuery(), rows)

    assert 1 < len(page.rows) < 9
    assert len(page.encode()) < 1_000_000
    assert page.cursor is not None


def test_a_page_of_groups_hides_its_key() -> None:
    rows: list[Record] = [{"team": "a", "group_key": f"={n}"} for n in range(PAGE + 1)]

    page = queries.page(CostsQuery(by="team"), rows)

    assert page.cursor == f"={PAGE - 1}"
    assert page.rows[0] == {"team": "a"}


@pytest.mark.parametrize(
    ("its_attempts", "status"),
    [
        ([attempt(status="running", settled_at=None)], "running"),
        ([attempt(), attempt(status="running", settled_at=None)], "running"),
        ([attempt(settled_at="2026-01-01T11:59:30.000Z")], "running"),
        ([attempt(settled_at="2026-01-01T11:58:59.000Z")], "lost"),
        ([attempt(status="lost", settled_at="2026-01-01T11:00:00.000Z", cost_usd=None)], "lost"),
    ],
)
def test_a_request_without_a_row_is_derived_from_its_attempts(
    its_attempts: list[Record], status: str
) -> None:
    (row,) = queries.request_page([], its_attempts, NOW).rows

    assert row["status"] == status
    assert row["model"] == "openai/m"
    assert row["received_at"] == "2026-01-01T11:58:00.000Z"


def test_a_request_costs_what_its_attempts_cost_unless_one_is_unknown() -> None:
    own: list[Record] = [{"request_id": "r", "status": "ok"}]

    def cost(*costs: str | None) -> object:
        page = queries.request_page(own, [attempt(cost_usd=each) for each in costs], NOW)
        return page.rows[0]["cost_usd"]

    assert cost("0.1", "0.000000000001") == "0.100000000001"
    assert cost("0.1", None) is None
    assert cost() == "0"


def test_a_request_nobody_knows_has_no_row() -> None:
    assert queries.request_page([], [], NOW).rows == []
    assert queries.request(RequestQuery(request_id="no uuid")) is None


def test_a_migration_is_applied_once_and_must_not_change() -> None:
    one, two = Migration("0001_a.sql", "SELECT 1"), Migration("0002_b.sql", "SELECT 2")

    assert pending([one, two], {}) == [one, two]
    assert pending([one, two], {one.name: one.sha256}) == [two]
    with pytest.raises(MigrationChanged, match="0001"):
        pending([one, two], {one.name: two.sha256})


def test_a_migration_is_cut_into_statements() -> None:
    migration = Migration("x", "-- a; b\nSELECT ';';\n\n-- c\nSELECT 2;\n")

    assert migration.statements == ["SELECT ';'", "SELECT 2"]
    assert len(shipped()[0].statements) == 2


def test_only_untouched_copies_of_the_library_are_dropped() -> None:
    smaps = """\
1000-2000 r-xp 00000000 fe:00 1    /lib/chdb/_chdb.abi3.so
Rss: 4 kB
Anonymous:             0 kB
2000-3000 r--p 00001000 fe:00 1    /lib/chdb/_chdb.abi3.so
Anonymous:             4 kB
3000-4000 rw-p 00002000 fe:00 1    /lib/chdb/_chdb.abi3.so
Anonymous:             0 kB
4000-5000 r-xp 00000000 fe:00 2    /lib/libc.so
Anonymous:             0 kB
5000-6000 r--p 00000000 00:00 0
Anonymous:             0 kB
""".splitlines()

    assert memory.droppable(smaps) == [(0x1000, 0x2000)]
