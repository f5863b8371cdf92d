"""Rows as columns, in Arrow's stream format. Pure.

The engine reads a block of columns for a quarter of what the same rows cost it as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from keyrail_cost_accounting import versions
from keyrail_cost_accounting.content_rows import CONTENT_COLUMNS
from keyrail_cost_accounting.report_rows import REPORT_COLUMNS
from keyrail_cost_accounting.rows import (
    ALERT_COLUMNS,
    ATTEMPT_COLUMNS,
    DECISION_COLUMNS,
    REQUEST_COLUMNS,
    VERDICT_COLUMNS,
    Row,
)
from keyrail_cost_accounting.versions import PriceRow

_ID = pa.binary(16)
_TIME = pa.timestamp("ms", "UTC")
_MONEY = pa.decimal128(18, 12)
_TYPES = {
    "attempt_id": _ID,
    "request_id": _ID,
    "rank": pa.uint8(),
    "revision": pa.uint64(),
    "epoch": pa.uint32(),
    "hop": pa.uint32(),
    "dispatches": pa.uint32(),
    "stream": pa.bool_(),
    "estimated": pa.bool_(),
    "http_status": pa.uint16(),
    "input_tokens": pa.uint64(),
    "output_tokens": pa.uint64(),
    "cache_read_tokens": pa.uint64(),
    "cache_write_tokens": pa.uint64(),
    "cache_write_1h_tokens": pa.uint64(),
    "reasoning_tokens": pa.uint64(),
    "audio_input_tokens": pa.uint64(),
    "audio_output_tokens": pa.uint64(),
    "searches": pa.uint64(),
    "cost_usd": _MONEY,
    "held_usd": _MONEY,
    "uncached_usd": _MONEY,
    "reference_usd": _MONEY,
    "number": pa.uint16(),
    "first_byte_ms": pa.uint64(),
    "first_content_ms": pa.uint64(),
    "duration_ms": pa.uint64(),
    "started_at": _TIME,
    "settled_at": _TIME,
    "received_at": _TIME,
    "raised_at": _TIME,
    "request": pa.binary(),
    "request_bytes": pa.uint64(),
    "answer": pa.binary(),
    "answer_bytes": pa.uint64(),
    "expires_at": pa.timestamp("s", "UTC"),
    "day": pa.date32(),
    "requests": pa.uint64(),
    "import_id": _ID,
    "imported_at": _TIME,
    "since": _TIME,
    "recorded_at": _TIME,
    "removed": pa.bool_(),
    "targets": pa.list_(pa.string()),
    "propensity": pa.float64(),
    "draw": pa.float64(),
    "worth": pa.float64(),
    "score": pa.float64(),
    "weight": pa.float64(),
    "routed_at": _TIME,
    "given_at": _TIME,
    "multipliers": pa.map_(pa.string(), _MONEY),
}


COLUMNS = {
    "attempts": ATTEMPT_COLUMNS,
    "requests": REQUEST_COLUMNS,
    "alerts": ALERT_COLUMNS,
    "decisions": DECISION_COLUMNS,
    "verdicts": VERDICT_COLUMNS,
    "contents": CONTENT_COLUMNS,
    "provider_reports": REPORT_COLUMNS,
    "prices": versions.COLUMNS,
}
_OF_A_TABLE = {
    # an attempt counts searches, a price has a rate for them
    **{("prices", name): _MONEY for name in (*versions.RATES, "discount")},
    ("alerts", "rank"): pa.int64(),
    ("verdicts", "rank"): pa.int64(),
    ("provider_reports", "cost_usd"): pa.decimal128(38, 12),
}
_SCHEMAS = {
    table: pa.schema(
        [(name, _OF_A_TABLE.get((table, name), _TYPES.get(name, pa.string()))) for name in columns]
    )
    for table, columns in COLUMNS.items()
}


def encode(table: str, rows: Sequence[Row] | Sequence[PriceRow]) -> bytes:
    """One block of a table's rows, of which there is at least one."""
    schema = _SCHEMAS[table]
    columns = [
        pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return sink.getvalue().to_pybytes()
