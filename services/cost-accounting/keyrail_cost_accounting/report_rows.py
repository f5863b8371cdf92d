"""Lines of providers' reports to rows. Pure."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Final
from uuid import UUID

from keyrail.contracts.reports import MOST_LINES, ReportLine, StoreReport
from keyrail_cost_accounting.rows import SMALLEST, Row

# all columns of the table, in their order
REPORT_COLUMNS: Final = (
    "provider", "day", "kind", "account_key", "key_id", "model", "line", "requests", "input_tokens",
    "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd", "source", "import_id",
    "imported_at",
)  # fmt: skip
_EPOCH: Final = date(1970, 1, 1)
_MOST: Final = Decimal(10) ** 20
_LONGEST: Final = 300


def report_rows(report: StoreReport) -> list[Row]:
    """The rows of a page. Raises ValueError for what no column holds."""
    if len(report.lines) > MOST_LINES:
        raise ValueError(f"more than {MOST_LINES} lines")
    import_id = UUID(report.import_id).bytes
    return [_row(report, line, import_id) for line in report.lines]


def _row(report: StoreReport, line: ReportLine, import_id: bytes) -> Row:
    if (
        max(map(len, (report.provider, line.account_key, line.key_id or "", line.model, line.line)))
        > _LONGEST
    ):
        raise ValueError("a name is too long")
    counts = (
        line.requests,
        line.input_tokens,
        line.output_tokens,
        line.cache_read_tokens,
        line.cache_write_tokens,
    )
    if any(count is not None and not 0 <= count < 1 << 63 for count in counts):
        raise ValueError("a count is out of range")
    return (
        report.provider,
        (date.fromisoformat(line.day) - _EPOCH).days,
        line.kind,
        line.account_key,
        line.key_id,
        line.model,
        line.line,
        *counts,
        _money(line.cost_usd),
        line.source,
        import_id,
        report.imported_ms,
    )


def _money(amount: Decimal | None) -> Decimal | None:
    if amount is None:
        return None
    if not amount.is_finite() or abs(amount) >= _MOST:
        raise ValueError("an amount is out of range")
    return amount.quantize(SMALLEST)
