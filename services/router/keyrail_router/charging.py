"""What a request can cost at each of its targets, and what is said when that is too much. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from typing import cast

from keyrail.contracts.base import Json
from keyrail.contracts.budgets import ZERO, period_bounds
from keyrail.contracts.config import ConfigView
from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Charge, Facts, Plan, Slip, Target
from keyrail.pricing.most import most

UNAVAILABLE = Failure(
    kind="unavailable",
    message="The budgets of this key can't be read, so nothing is called.",
    status=503,
    code="budget_unavailable",
    retry_after_s=1,
)
_WHOSE = {"key": "this key", "team": "its team", "tenant": "its tenant"}
_EACH = {"day": "daily", "month": "monthly"}


def priced(plan: Plan, slip: Slip, view: ConfigView) -> tuple[Plan, tuple[Decimal | None, ...]] | Failure:
    """The plan with the targets that may be asked, and the most that an attempt at each can cost.

    Where a hard budget applies, targets of unknown price are left out unless the route allows them.
    """
    facts = slip.facts
    if facts.operation != "generate":
        return plan, (ZERO,) * len(plan.targets)
    every = tuple(most_of(target, facts, slip.received_ms, view) for target in plan.targets)
    if None not in every or not any(not charge.budget.soft for charge in slip.charges):
        return plan, every
    route = view.routes.get(plan.route) if plan.route is not None else None
    if (route.unknown_price if route is not None else view.unknown_price) == "allow":
        return plan, every
    known = [(target, usd) for target, usd in zip(plan.targets, every, strict=True) if usd is not None]
    if not known:
        return _unknown(plan.targets)
    kept = plan.replace(targets=tuple(target for target, _ in known))
    return kept, tuple(usd for _, usd in known)


def most_of(target: Target, facts: Facts, at_ms: int, view: ConfigView) -> Decimal | None:
    """The most that an attempt at this target can cost; None: nobody can tell."""
    if facts.input_tokens_most is None:
        return None
    output = 0
    if facts.dialect != "openai-embeddings":
        if facts.max_output_tokens is None:
            return None
        output = facts.max_output_tokens * facts.choices
    terms = view.providers.get(target.provider)
    tier = facts.service_tier
    return most(target.provider, target.model, facts.input_tokens_most, output, at_ms, terms, tier)


def options(every: Sequence[Decimal | None]) -> tuple[Decimal, ...]:
    """What the first target alone needs, the first two together, and so on."""
    return tuple(accumulate(usd or ZERO for usd in every))


def _unknown(targets: Sequence[Target]) -> Failure:
    names = ", ".join(f"{target.provider}/{target.model}" for target in targets)
    return Failure(
        kind="budget",
        message=(
            f"What this request can cost at most is not known ({names}), and a budget applies to this key. "
            "Set a price in keyrail.yaml, or unknown_price: allow."
        ),
        status=400,
        code="price_unknown",
        param="model",
    )


def exceeded(charge: Charge, needed: Decimal, received_ms: int, now_ms: int) -> Failure:
    """What is left of this budget does not pay for a request that can cost `needed`."""
    budget = charge.budget
    _, end_ms = period_bounds(budget.per, received_ms)
    whose = _WHOSE.get(charge.scope.partition(".")[0], charge.scope)
    until = datetime.fromtimestamp(end_ms / 1000, UTC)
    return Failure(
        kind="budget",
        message=(
            f"What is left of the {_EACH[budget.per]} budget of {whose} ({_plain(budget.usd)} USD) does not "
            f"pay for this request, which can cost up to {_plain(needed)} USD. "
            f"The next period begins at {until:%Y-%m-%dT%H:%M:%SZ}."
        ),
        status=429,
        code="budget_exceeded",
        retry_after_s=max(1, math.ceil((end_ms - now_ms) / 1000)),
    )


def _plain(usd: Decimal) -> str:
    text = format(usd, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def paid_by(row: dict[str, Json]) -> Decimal | None:
    """What the ledger says (see HoldQuery) that attempts did cost; None while one of them runs.

    Raises ValueError and ArithmeticError for anything else.
    """
    running, known, unknown = row.get("running"), row.get("cost_usd"), row.get("unknown")
    if type(running) is not int or type(known) is not str or type(unknown) is not list:
        raise ValueError("no answer about a hold")
    if running:
        return None
    held = [Decimal(usd) for usd in cast("list[object]", unknown) if type(usd) is str]
    return sum(held, Decimal(known))
