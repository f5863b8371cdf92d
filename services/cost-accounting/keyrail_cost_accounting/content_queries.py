"""Questions about contents to SQL, and rows to pages. Pure. What has expired is not there."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from keyrail.contracts.contents import CHUNK, ContentQuery, ContentsQuery
from keyrail.contracts.ledger import PAGE, LedgerPage
from keyrail_cost_accounting import queries
from keyrail_cost_accounting.queries import Record
from keyrail_cost_accounting.statement import Parameters, Statement

CONTENT = """
c.tenant AS tenant, toString(c.request_id) AS request_id, toString(c.attempt_id) AS attempt_id,
c.team AS team, c.feature AS feature, c.route AS route, c.provider AS provider, c.model AS model,
c.dialect AS dialect, c.recipient AS recipient,
c.request_bytes AS request_bytes, isNotNull(c.request) AS has_request,
c.answer_bytes AS answer_bytes, isNotNull(c.answer) AS has_answer,
concat(replaceOne(toString(c.started_at), ' ', 'T'), 'Z') AS started_at,
concat(replaceOne(toString(c.expires_at), ' ', 'T'), 'Z') AS expires_at
"""
BEFORE = "tenant = {tenant:String} AND started_at < fromUnixTimestamp64Milli({before:Int64}, 'UTC')"
DELETED = Statement(
    "SELECT tenant, toUnixTimestamp64Milli(max(before)) AS before FROM contents_deleted GROUP BY tenant"
)
"""Up to when the contents of tenants were deleted: nothing older gets in any more."""


def listed(query: ContentsQuery) -> Statement | None:
    """What is kept, oldest first. None: no request can have this id. Raises BadCursor."""
    where, parameters = _shown(query.tenant)
    if query.since_ms is not None:
        where += " AND c.started_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
        parameters["since"] = query.since_ms
    if query.request_id is not None:
        id = _uuid(query.request_id)
        if id is None:
            return None
        where += " AND c.request_id = {request:UUID}"
        parameters["request"] = id
    if query.cursor is not None:
        at_ms, attempt_id = queries.attempt_position(query.cursor)
        at = "fromUnixTimestamp64Milli({at:Int64}, 'UTC')"
        where += f" AND c.started_at >= {at} AND (c.started_at, c.attempt_id) > ({at}, {{after:UUID}})"
        parameters |= {"at": at_ms, "after": attempt_id}
    return Statement(
        f"SELECT {CONTENT} FROM contents AS c FINAL WHERE {where}"
        f" ORDER BY c.started_at, c.attempt_id LIMIT {PAGE + 1}",
        parameters,
    )


def page(rows: Sequence[Record]) -> LedgerPage:
    """Rows that fit one message, with a cursor when there are more."""
    fitting = queries.fitting(rows)
    more = len(fitting) < len(rows)
    cursor = f"{fitting[-1]['started_at']} {fitting[-1]['attempt_id']}" if more else None
    return LedgerPage(rows=list(fitting), cursor=cursor)


def piece(query: ContentQuery) -> Statement | None:
    """A piece of a sealed part. None: there can be none."""
    request_id, attempt_id = _uuid(query.request_id), _uuid(query.attempt_id)
    if request_id is None or attempt_id is None or query.offset < 0:
        return None
    where, parameters = _shown(query.tenant)
    parameters |= {"request": request_id, "attempt": attempt_id, "from": query.offset + 1}
    column = {"request": "c.request", "answer": "c.answer"}[query.part]
    return Statement(
        f"SELECT base64Encode(substring(assumeNotNull({column}), {{from:UInt64}}, {CHUNK})) AS data,"
        f" if(length({column}) >= {{from:UInt64}} + {CHUNK}, {{from:UInt64}} - 1 + {CHUNK}, NULL) AS next"
        f" FROM contents AS c FINAL WHERE {where} AND c.request_id = {{request:UUID}}"
        f" AND c.attempt_id = {{attempt:UUID}} AND {column} IS NOT NULL LIMIT 1",
        parameters,
    )


def count(tenant: str, before_ms: int) -> Statement:
    """How many rows there are to delete."""
    return Statement(
        f"SELECT uniqExact(started_at, attempt_id) AS contents FROM contents WHERE {BEFORE}",
        _bounds(tenant, before_ms),
    )


def delete(tenant: str, before_ms: int) -> Statement:
    """Write all parts that hold such rows again, without them; every replica, before it returns."""
    return Statement(
        f"ALTER TABLE contents DELETE WHERE {BEFORE} SETTINGS mutations_sync = 2", _bounds(tenant, before_ms)
    )


def mark_deleted(tenant: str, before_ms: int) -> Statement:
    """From now on, nothing older gets in."""
    return Statement(
        "INSERT INTO contents_deleted SELECT {tenant:String},"
        " fromUnixTimestamp64Milli({before:Int64}, 'UTC'), now64(3, 'UTC')",
        _bounds(tenant, before_ms),
    )


def _shown(tenant: str | None) -> tuple[str, Parameters]:
    if tenant is None:
        return "c.expires_at > now()", {}
    return "c.expires_at > now() AND c.tenant = {tenant:String}", {"tenant": tenant}


def _bounds(tenant: str, before_ms: int) -> Parameters:
    return {"tenant": tenant, "before": before_ms}


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None
