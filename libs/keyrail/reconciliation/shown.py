"""A comparison as rows, for people and for programs. Money is text, and None is what is not known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Final
from uuid import UUID

from keyrail.contracts.reports import ReportLine
from keyrail.reconciliation.comparison import Bucket
from keyrail.reconciliation.split import CLASSES, Class
from keyrail.reconciliation.totals import DEFINITION, Total

Row = dict[str, object]
MEANING: Final[dict[Class, str]] = {
    "outside": "calls outside the gateway",
    "estimated": "estimated attempts",
    "late": "late usage",
    "price": "price mismatch",
    "unknown": "attempts without a known cost",
    "rounding": "rounding",
    "unexplained": "unexplained",
}
BUCKET: Final = (
    "day",
    "key",
    "ours",
    "model",
    "invoice_usd",
    "ledger_usd",
    "difference_usd",
    *CLASSES,
    "ratio",
    "tokens",
    "invoice_requests",
    "ledger_requests",
    "invoice_input_tokens",
    "ledger_input_tokens",
    "invoice_output_tokens",
    "ledger_output_tokens",
    "estimated_attempts",
    "unknown_cost_attempts",
    "late_attempts",
)


def bucket(found: Bucket, *, has_money: bool) -> Row:
    """A bucket with the columns of BUCKET."""
    reported, ledger = found.reported, found.ledger
    values = (
        *found.place[:2],
        found.place.ours,
        found.place.model,
        usd(reported.cost_usd),
        usd(ledger.cost_usd),
        usd(found.difference) if has_money else None,
        *(usd(found.parts.get(name)) for name in CLASSES),
        usd(found.ratio),
        found.tokens,
        reported.requests,
        ledger.requests,
        reported.input_tokens,
        ledger.input_tokens,
        reported.output_tokens,
        ledger.output_tokens,
        ledger.estimated_attempts,
        ledger.unknown_cost_attempts,
        ledger.late_attempts,
    )
    return dict(zip(BUCKET, values, strict=True))


def total(found: Total) -> Row:
    """The total, with what its shares mean."""
    return {
        "invoice_usd": usd(found.invoice_usd),
        "ledger_usd": usd(found.ledger_usd),
        "difference_usd": usd(found.difference_usd),
        "tied_usd": usd(found.tied_usd),
        "tied_share": usd(found.tied_share),
        "unexplained_usd": usd(found.unexplained_usd),
        "explained_share": usd(found.explained_share),
        "by_class": [
            {
                "class": each.name,
                "meaning": MEANING[each.name],
                "usd": usd(each.usd),
                "absolute_usd": usd(each.absolute_usd),
                "buckets": each.buckets,
            }
            for each in found.by_class
        ],
        "buckets": found.buckets,
        "buckets_with_other_tokens": found.token_differences,
        "definition": DEFINITION,
    }


def usd(amount: Decimal | None) -> str | None:
    """Without an exponent and without zeros at the end."""
    if amount is None:
        return None
    text = format(amount, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def percent(share: Decimal | None) -> str:
    """A share for people: cut, not rounded, so that 100 % is all."""
    if share is None:
        return "unknown"
    cut = (share * 100).quantize(Decimal("0.01"), rounding="ROUND_DOWN")
    return f"{usd(cut)} %"


def import_id(provider: str, lines: Sequence[ReportLine]) -> str:
    """An id that the same lines have again."""
    digest = hashlib.sha256(provider.encode())
    for line in lines:
        digest.update(line.encode())
    return str(UUID(bytes=digest.digest()[:16], version=5))
