"""What share of an invoice is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from keyrail.reconciliation.comparison import Bucket, Comparison
from keyrail.reconciliation.split import CLASSES, ZERO, Class

DEFINITION: Final = (
    "explained is the share of the invoice that is left when all that is unexplained, too much or too little,"
    " is taken from it; tied out is what invoice and ledger have in common, bucket by bucket"
)
_SHARE: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class ByClass:
    """The parts of one class: their sum, their sum without signs, and in how many buckets."""

    name: Class
    usd: Decimal
    absolute_usd: Decimal
    buckets: int


@dataclass(frozen=True, slots=True)
class Total:
    """Over all buckets. Shares are of the invoice; None where it is no positive amount, or unknown."""

    invoice_usd: Decimal | None
    ledger_usd: Decimal
    difference_usd: Decimal | None
    tied_usd: Decimal | None
    tied_share: Decimal | None
    unexplained_usd: Decimal | None
    explained_share: Decimal | None
    by_class: list[ByClass]
    token_differences: int
    buckets: int


def total(comparison: Comparison) -> Total:
    """Add up."""
    buckets = comparison.buckets
    ledger = sum((bucket.ledger.cost_usd for bucket in buckets), ZERO)
    differ = sum(bucket.tokens not in (None, "agree") for bucket in buckets)
    if not comparison.has_money:
        return Total(None, ledger, None, None, None, None, None, [], differ, len(buckets))
    invoice = sum((bucket.reported.cost_usd or ZERO for bucket in buckets), ZERO)
    by_class = [each for name in CLASSES if (each := _of(name, buckets)).buckets]
    unexplained = next((each.absolute_usd for each in by_class if each.name == "unexplained"), ZERO)
    tied = sum((_common(bucket) for bucket in buckets), ZERO)
    return Total(
        invoice_usd=invoice,
        ledger_usd=ledger,
        difference_usd=invoice - ledger,
        tied_usd=tied,
        tied_share=_share(tied, invoice),
        unexplained_usd=unexplained,
        explained_share=_share(max(invoice - unexplained, ZERO), invoice),
        by_class=by_class,
        token_differences=differ,
        buckets=len(buckets),
    )


def tolerated(found: Total, tolerance: Decimal) -> bool:
    """Whether what is unexplained is at most this share of the invoice (of the ledger, if that is more).

    A report without money ties out when all its tokens agree.
    """
    if found.invoice_usd is None or found.unexplained_usd is None:
        return found.token_differences == 0
    return found.unexplained_usd <= tolerance * max(found.invoice_usd, found.ledger_usd)


def _of(name: Class, buckets: Sequence[Bucket]) -> ByClass:
    parts = [bucket.parts[name] for bucket in buckets if name in bucket.parts]
    return ByClass(name, sum(parts, ZERO), sum(map(abs, parts), ZERO), len(parts))


def _common(bucket: Bucket) -> Decimal:
    return max(min(bucket.reported.cost_usd or ZERO, bucket.ledger.cost_usd), ZERO)


def _share(part: Decimal, whole: Decimal) -> Decimal | None:
    return (part / whole).quantize(_SHARE) if whole > 0 else None
