"""What ClickHouse's errors mean for whoever asked it to do something. Pure.

Sentences about inserts name the error and no more: the server's own text can quote a row.
"""

from __future__ import annotations

import re

from clickhouse_connect.driver.exceptions import Error

ROWS = frozenset({6, 27, 38, 41, 69, 70, 72, 131, 248, 321, 349, 376, 407, 469})
"""A value cannot be parsed, converted or kept, or breaks a constraint: other rows may be fine."""
CREDENTIALS = frozenset({192, 193, 194, 516})
GRANTS = frozenset({164, 497})
NO_DATABASE = 81

_CODE = re.compile(r"Code: (\d+)\b")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]{3,})\)")


class LedgerUnavailable(Exception):
    """The engine did not do it; trying the same again may help."""


class LedgerRefused(LedgerUnavailable):
    """It will not until somebody changes the credentials, the grants or the database."""


class RowsRefused(LedgerUnavailable):
    """It does not take these rows, however often; it may take others. The sentence has nothing of a row."""


def of_statement(error: Exception) -> LedgerUnavailable:
    """For a statement whose values are parameters: with what the server says of it."""
    code, name = _named(error)
    if code is None:
        return _without_code(error)
    if (refused := _refused(code, name)) is not None:
        return refused
    return LedgerUnavailable(str(error)[:500])


def of_insert(error: Exception) -> LedgerUnavailable:
    """For a block of rows: the name of the error, and whether it is about the rows."""
    code, name = _named(error)
    if code is None:
        return _without_code(error)
    if code in ROWS:
        return RowsRefused(f"ClickHouse does not take it: {name}")
    return _refused(code, name) or LedgerUnavailable(f"ClickHouse says {name}")


def _refused(code: int, name: str) -> LedgerRefused | None:
    if code in CREDENTIALS:
        return LedgerRefused(f"ClickHouse does not accept the user or the password: {name}")
    if code in GRANTS:
        return LedgerRefused(f"ClickHouse does not allow it to this user: {name}")
    if code == NO_DATABASE:
        return LedgerRefused(f"the database in KEYRAIL_LEDGER does not exist: {name}")
    return None


def _named(error: Exception) -> tuple[int | None, str]:
    """Code and name. Only the HTTP client has them as fields; the engine in this process says them."""
    text = str(error)
    found = _CODE.search(text)
    code = error.code if isinstance(error, Error) and error.code else int(found[1]) if found else None
    names = _NAME.findall(text)
    return code, f"{names[-1]} ({code})" if names else f"code {code}"


def _without_code(error: Exception) -> LedgerUnavailable:
    """The connection, or something between. The client's text has the whole URL in it, with parameters."""
    status = re.search(r"HTTP status (\d+)", str(error))
    if status is not None:
        kind = LedgerRefused if status[1] in {"401", "403"} else LedgerUnavailable
        return kind(f"HTTP status {status[1]} instead of an answer of ClickHouse")
    cause = getattr(error.__cause__, "reason", None) or error.__cause__
    if cause is not None:
        return LedgerUnavailable(f"no answer from ClickHouse: {type(cause).__name__}")
    return LedgerUnavailable(str(error)[:500])
