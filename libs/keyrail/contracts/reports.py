"""Reports of providers: what they say that they served or billed, by the day (UTC).

They come in pages over the bus like every question to the ledger; a page of lines is stored by a question
too.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from keyrail.contracts.base import Contract

LineKind = Literal["usage", "cost", "both"]
"""Whether a line has tokens, money, or both."""
MOST_LINES = 1_000
"""Most lines in one page to be stored."""


class ReportLine(Contract, frozen=True, kw_only=True):
    """What a provider says of one day, one of its keys and one model. None is what it does not say.

    `account_key`: the provider's id or name of the key, empty where the report does not tell keys apart.
    `key_id`: the key's id here, where the operator has said which it is. `line`: what tells lines of one day,
    key and model apart. `input_tokens` is the whole prompt, what was read from and written to caches
    included.
    """

    day: str  # YYYY-MM-DD
    kind: LineKind
    account_key: str = ""
    key_id: str | None = None
    model: str = ""
    line: str = ""
    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: Decimal | None = None
    source: str


class StoreReport(Contract, frozen=True, kw_only=True, tag_field="kind", tag="report-store"):
    """Keep lines. All pages of one import have the same id and time; the same lines again change nothing.

    Of a day the newest import counts, with all its lines. One row: `{"stored": 12}`.
    """

    provider: str
    import_id: str
    imported_ms: int
    lines: list[ReportLine]


class ReportLinesQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="report-lines"):
    """The lines that count of these days, both included."""

    provider: str
    since_day: str
    until_day: str
    cursor: str | None = None


class KeySumsQuery(Contract, frozen=True, kw_only=True, tag_field="kind", tag="key-sums"):
    """What attempts at a provider add up to by day of their start, key and model; both days included.

    Attempts that were not billed are left out. `key_id` is `tenant/id` for tenants other than `default`.
    """

    provider: str
    since_day: str
    until_day: str
    cursor: str | None = None


class KeySum(Contract, frozen=True, kw_only=True):
    """A row of the answer to KeySumsQuery.

    `late_*`: the part of attempts that ended on a later day than they began. `estimated_*`: the part of
    attempts whose tokens this gateway worked out. `unknown_*`: attempts without a known cost, and their
    tokens.
    """

    day: str
    key_id: str
    model: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    estimated_attempts: int = 0
    estimated_usd: Decimal = Decimal(0)
    estimated_input_tokens: int = 0
    estimated_output_tokens: int = 0
    unknown_cost_attempts: int = 0
    unknown_input_tokens: int = 0
    unknown_output_tokens: int = 0
    late_attempts: int = 0
    late_usd: Decimal = Decimal(0)
    late_input_tokens: int = 0
    late_output_tokens: int = 0
