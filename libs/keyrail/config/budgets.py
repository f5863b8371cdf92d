"""Budgets as people write them: `25/day`, `0.5`, `300/month/soft`."""

from __future__ import annotations

import re
from decimal import Decimal

from keyrail.contracts.budgets import Budget, Period

WRITTEN = "AMOUNT[/day|/month][/soft], such as 25/day or 300/month/soft"
_BUDGET = re.compile(r"(?P<usd>[0-9]{1,9}(\.[0-9]{1,12})?)(/(?P<per>day|month))?(?P<soft>/soft)?")


def parse(text: str) -> Budget | str:
    """The budget, or a sentence that says what is wrong. Without a period it is for a month.

    An amount is positive, below a billion US dollars, with at most twelve decimal places, as the ledger's.
    """
    found = _BUDGET.fullmatch(text)
    if found is None:
        return (
            f"a budget is {WRITTEN}; the amount is US dollars below a billion, with up to 12 decimal places"
        )
    usd = Decimal(_shortest(found["usd"]))
    if not usd:
        return "a budget must be above 0"
    per: Period = "day" if found["per"] == "day" else "month"
    return Budget(usd=usd, per=per, soft=found["soft"] is not None)


def written(budget: Budget) -> str:
    """The inverse of `parse`, always with the period."""
    return f"{_shortest(format(budget.usd, 'f'))}/{budget.per}{'/soft' if budget.soft else ''}"


def _shortest(amount: str) -> str:
    """One way to write an amount: `str` of it tells budgets apart."""
    whole, _, places = amount.partition(".")
    whole, places = whole.lstrip("0") or "0", places.rstrip("0")
    return f"{whole}.{places}" if places else whole
