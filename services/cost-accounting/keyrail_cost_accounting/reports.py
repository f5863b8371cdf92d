"""Reports of providers: kept, and asked for beside what the ledger adds up to. Values are server-side
parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from keyrail.contracts.base import Json
from keyrail.contracts.ledger import PAGE, LedgerPage
from keyrail.contracts.reports import KeySumsQuery, ReportLinesQuery, StoreReport
from keyrail_cost_accounting import blocks, queries
from keyrail_cost_accounting.ledger import Ledger
from keyrail_cost_accounting.report_rows import REPORT_COLUMNS, report_rows
from keyrail_cost_accounting.statement import Parameters, Statement

TABLE: Final = "provider_reports"
KEY: Final = "page_key"
Record = dict[str, Json]

LINE: Final = """
toString(l.day) AS day, l.kind AS kind, l.account_key AS account_key, l.key_id AS key_id, l.model AS model,
l.line AS line, l.requests AS requests, l.input_tokens AS input_tokens, l.output_tokens AS output_tokens,
l.cache_read_tokens AS cache_read_tokens, l.cache_write_tokens AS cache_write_tokens,
toString(l.cost_usd) AS cost_usd, l.source AS source
"""
# of a day the newest import counts, for tokens and for money
NEWEST: Final = """
(l.kind = 'usage' AND l.imported_at = l.newest_usage) OR (l.kind = 'cost' AND l.imported_at = l.newest_cost)
OR (l.kind = 'both' AND l.imported_at = greatest(l.newest_usage, l.newest_cost))
"""
STORED: Final = """
SELECT *,
    maxIf(r.imported_at, r.kind != 'cost') OVER (PARTITION BY r.day) AS newest_usage,
    maxIf(r.imported_at, r.kind != 'usage') OVER (PARTITION BY r.day) AS newest_cost
FROM provider_reports AS r FINAL
WHERE r.provider = {provider:String} AND r.day >= {since:Date} AND r.day <= {until:Date}
"""
UNKNOWN: Final = "isNull(a.cost_usd)"
LATE: Final = "toDate(a.settled_at) > toDate(a.started_at)"
SUMS: Final = f"""
count() AS requests,
sum(ifNull(a.input_tokens, 0)) AS input_tokens,
sum(ifNull(a.output_tokens, 0)) AS output_tokens,
sum(ifNull(a.cache_read_tokens, 0)) AS cache_read_tokens,
sum(ifNull(a.cache_write_tokens, 0)) AS cache_write_tokens,
toString(sum(ifNull(a.cost_usd, 0))) AS cost_usd,
countIf(a.estimated) AS estimated_attempts,
toString(sumIf(ifNull(a.cost_usd, 0), a.estimated)) AS estimated_usd,
sumIf(ifNull(a.input_tokens, 0), a.estimated) AS estimated_input_tokens,
sumIf(ifNull(a.output_tokens, 0), a.estimated) AS estimated_output_tokens,
countIf({UNKNOWN}) AS unknown_cost_attempts,
sumIf(ifNull(a.input_tokens, 0), {UNKNOWN}) AS unknown_input_tokens,
sumIf(ifNull(a.output_tokens, 0), {UNKNOWN}) AS unknown_output_tokens,
countIf({LATE}) AS late_attempts,
toString(sumIf(ifNull(a.cost_usd, 0), {LATE})) AS late_usd,
sumIf(ifNull(a.input_tokens, 0), {LATE}) AS late_input_tokens,
sumIf(ifNull(a.output_tokens, 0), {LATE}) AS late_output_tokens
"""
KEY_ID: Final = (
    "concat(if(a.tenant = 'default', '', concat(toString(a.tenant), '/')), ifNull(a.provider_key_id, ''))"
)


def store(ledger: Ledger, report: StoreReport) -> LedgerPage:
    """Keep a page of lines. Blocks. Raises ValueError and LedgerUnavailable."""
    rows = report_rows(report)
    if rows:
        block = blocks.encode(TABLE, rows)
        ledger.insert(TABLE, REPORT_COLUMNS, block, hashlib.sha256(block).hexdigest())
    return LedgerPage(rows=[{"stored": len(rows)}])


def lines(query: ReportLinesQuery) -> Statement:
    """The lines that count."""
    key = "concat(toString(l.day), '\\n', l.kind, '\\n', l.account_key, '\\n', l.model, '\\n', l.line)"
    where, parameters = _after(key, query)
    return Statement(
        f"SELECT {LINE}, {key} AS {KEY} FROM ({STORED}) AS l WHERE ({NEWEST}){where}"
        f" ORDER BY {KEY} LIMIT {PAGE + 1}",
        parameters,
    )


def sums(query: KeySumsQuery) -> Statement:
    """Sums of attempts that a provider may have billed, by day, key and model."""
    key = f"concat(toString(toDate(a.started_at)), '\\n', {KEY_ID}, '\\n', a.model)"
    where, parameters = _after(key, query)
    return Statement(
        f"SELECT toString(toDate(a.started_at)) AS day, {KEY_ID} AS key_id, a.model AS model,"
        f" {SUMS}, {key} AS {KEY} FROM attempts AS a FINAL"
        " WHERE a.provider = {provider:String} AND a.started_at >= toDateTime64({since:String}, 3, 'UTC')"
        " AND a.started_at < toDateTime64({until:String}, 3, 'UTC') + INTERVAL 1 DAY"
        f" AND ifNull(a.price_source, '') NOT IN ('not-billed', 'cache'){where}"
        f" GROUP BY day, key_id, model, {KEY} ORDER BY {KEY} LIMIT {PAGE + 1}",
        parameters,
    )


def page(rows: Sequence[Record]) -> LedgerPage:
    """Rows that fit one message, with a cursor when there are more."""
    fitting = queries.fitting(rows)
    cursor = str(fitting[-1][KEY]) if len(fitting) < len(rows) else None
    return LedgerPage(
        rows=[{name: value for name, value in row.items() if name != KEY} for row in fitting], cursor=cursor
    )


def _after(key: str, query: ReportLinesQuery | KeySumsQuery) -> tuple[str, Parameters]:
    parameters: Parameters = {
        "provider": query.provider,
        "since": query.since_day,
        "until": query.until_day,
    }
    if query.cursor is None:
        return "", parameters
    return f" AND {key} > {{after:String}}", parameters | {"after": query.cursor}
