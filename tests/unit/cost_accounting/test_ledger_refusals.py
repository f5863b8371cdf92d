"""What ClickHouse's errors mean."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from keyrail_cost_accounting import refusals
from keyrail_cost_accounting.refusals import LedgerRefused, LedgerUnavailable, RowsRefused

QUOTED = "model = 'a customer''s'"


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [
        (469, "VIOLATED_CONSTRAINT", RowsRefused),
        (321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", RowsRefused),
        (516, "AUTHENTICATION_FAILED", LedgerRefused),
        (497, "ACCESS_DENIED", LedgerRefused),
        (81, "UNKNOWN_DATABASE", LedgerRefused),
        (241, "MEMORY_LIMIT_EXCEEDED", LedgerUnavailable),
        (252, "TOO_MANY_PARTS", LedgerUnavailable),
        (60, "UNKNOWN_TABLE", LedgerUnavailable),
    ],
)
def test_an_insert_fails_for_its_rows_for_its_credentials_or_for_now(
    code: int, name: str, kind: type[LedgerUnavailable]
) -> None:
    text = f"Code: {code}. DB::Exception: {QUOTED}. ({name})"
    for error in (DatabaseError(text, code=code, name=name), RuntimeError(text)):  # a server's, and chDB's
        found = refusals.of_insert(error)
        assert type(found) is kind
        assert f"{name} ({code})" in str(found)
        assert "customer" not in str(found), "the server's text can quote a row"


def test_a_statement_is_never_refused_for_rows_and_says_what_the_server_said() -> None:
    error = DatabaseError("Code: 321. DB::Exception: of column x. (OUT)", code=321, name="OUT")
    found = refusals.of_statement(error)
    assert type(found) is LedgerUnavailable
    assert "of column x" in str(found)


def test_an_error_of_the_connection_has_nothing_of_the_url() -> None:
    error = OperationalError("Error host?param_tenant=acme executing")
    error.__cause__ = TimeoutError("host?param_tenant=acme")
    found = refusals.of_statement(error)
    assert str(found) == "no answer from ClickHouse: TimeoutError"


@pytest.mark.parametrize(("status", "kind"), [(403, LedgerRefused), (503, LedgerUnavailable)])
def test_an_answer_that_is_not_clickhouses_is_told_by_its_status(
    status: int, kind: type[LedgerUnavailable]
) -> None:
    found = refusals.of_insert(
        DatabaseError(f"HTTP driver received HTTP status {status}, server response: <html>")
    )
    assert type(found) is kind
    assert str(found) == f"HTTP status {status} instead of an answer of ClickHouse"
