"""Usage that a provider bills on the day after the one on which it began.

By how much a day is short of the ledger and the next one over it, at most what attempts cost that ran over
midnight; or, where the two differences and their tokens are each other's opposite, all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from keyrail.contracts.reports import KeySum
from keyrail.reconciliation.split import Evidence

if TYPE_CHECKING:
    from keyrail.reconciliation.comparison import Place

_LIKE: Final = Decimal("0.01")


def moved(evidence: Mapping[Place, Evidence], before: Mapping[Place, KeySum]) -> dict[Place, Evidence]:
    """The evidence with what is late moved. `before`: the ledger on the day before the first one.

    What began on the last day may be on a bill that is not here: as far as it is short, that is late too.
    """
    found = dict(evidence)
    last = max((place.day for place in found), default="")
    for place, row in before.items():
        after = _after(place)
        if after in found:
            _move(found, None, row, after, _over(found[after]))
    for place in sorted(found):
        row, short = found[place].ledger, -_over(found[place])
        if short <= 0:
            continue
        after = _after(place)
        if place.day == last:
            _move(found, place, row, None, short)
        elif after in found and (over := _over(found[after])) > 0:
            _move(found, place, row, after, min(short, over))
            _opposite(found, place, after)
    return found


def _after(place: Place) -> Place:
    return place._replace(day=(date.fromisoformat(place.day) + timedelta(days=1)).isoformat())


def _over(found: Evidence) -> Decimal:
    """By how much the invoice is above the ledger, less what is moved already."""
    return found.difference - found.late_usd


def _move(
    found: dict[Place, Evidence], start: Place | None, row: KeySum, end: Place | None, most: Decimal
) -> None:
    amount = min(row.late_usd, most)
    if amount <= 0:
        return
    share = amount / row.late_usd
    for place, sign in ((start, -1), (end, 1)):
        if place is not None:
            found[place] = _shifted(
                found[place],
                sign * amount,
                sign * round(share * row.late_input_tokens),
                sign * round(share * row.late_output_tokens),
                sign * round(share * row.late_attempts),
            )


def _opposite(found: dict[Place, Evidence], start: Place, end: Place) -> None:
    """Move all where what one day lacks the other has, in money and in tokens."""
    short, over = -_over(found[start]), _over(found[end])
    if short <= 0 or over <= 0 or abs(short - over) > _LIKE * max(short, over):
        return
    lacks, has = _tokens_over(found[start]), _tokens_over(found[end])
    if lacks is None or has is None or (-lacks[0], -lacks[1]) != has or has == (0, 0):
        return
    amount = min(short, over)
    found[start] = _shifted(found[start], -amount, lacks[0], lacks[1], 0)
    found[end] = _shifted(found[end], amount, has[0], has[1], 0)


def _tokens_over(found: Evidence) -> tuple[int, int] | None:
    reported, row = found.reported, found.ledger
    if reported.input_tokens is None or reported.output_tokens is None:
        return None
    return (
        reported.input_tokens - row.input_tokens - found.late_input_tokens,
        reported.output_tokens - row.output_tokens - found.late_output_tokens,
    )


def _shifted(found: Evidence, amount: Decimal, prompt: int, answer: int, requests: int) -> Evidence:
    return replace(
        found,
        late_usd=found.late_usd + amount,
        late_input_tokens=found.late_input_tokens + prompt,
        late_output_tokens=found.late_output_tokens + answer,
        late_requests=found.late_requests + requests,
    )
