"""What a provider says itself that a call cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

_TICK = Decimal("0.0000000001")
_MOST = Decimal(1_000_000)  # a million dollars a call is nonsense, and the ledger could not hold it


def reported(raw: dict[str, Any]) -> Decimal | None:
    """US dollars as the provider's usage object states them, None when it does not.

    OpenRouter's `cost` (with the caller's own key: its fee, plus the bill of the provider behind it),
    DeepInfra's `estimated_cost`, xAI's `cost_in_usd_ticks`.
    """
    cost = _amount(raw.get("cost"))
    if cost is not None and raw.get("is_byok") is True:
        # With the caller's own key `cost` is the fee alone (5% beyond a monthly allowance, before that 0);
        # what stands beside it is the bill, on other calls a part of `cost`.
        details: object = raw.get("cost_details")
        bill = _amount(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
        return None if bill is None else cost + bill
    if cost is None:
        cost = _amount(raw.get("estimated_cost"))
    if cost is None and (ticks := _amount(raw.get("cost_in_usd_ticks"), _MOST / _TICK)) is not None:
        cost = ticks * _TICK
    return cost


def _amount(value: object, most: Decimal = _MOST) -> Decimal | None:
    if type(value) is not int and type(value) is not float:
        return None
    amount = Decimal(repr(value))
    return amount if 0 <= amount <= most else None
