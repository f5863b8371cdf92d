"""What is said where nobody may be asked. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keyrail.contracts.failures import Failure
from keyrail.contracts.routing import Gate
from keyrail.contracts.slips import Facts
from keyrail.routing.gates import PASSING, Option, needed

_CANNOT: Final[dict[Gate, str]] = {
    "tools": "take tools",
    "vision": "take images",
    "json_schema": "keep to a JSON schema",
}


def refusal(asked: str, options: Sequence[Option], facts: Facts, now_ms: int) -> Failure:
    """For the request as a whole, when no target is open. What passes by itself counts first, and of that
    what is over soonest."""
    passing = [each for each in options if each.gate in PASSING]
    if passing:
        return _away(asked, passing, now_ms)
    gates = {each.gate for each in options}
    if "budget" in gates:
        return Failure(
            kind="budget",
            message="What is left of its budgets does not pay for this request.",
            status=429,
            code="budget_exceeded",
        )
    if "window" in gates:
        return _too_long(options, facts)
    for gate, cannot in _CANNOT.items():
        if gate in gates:
            return Failure(
                kind="bad_request",
                message=f"No target of {asked!r} can {cannot}, as its configuration says.",
                status=400,
                code=f"{gate}_unsupported",
                param="model",
            )
    if "residency" in gates:
        names = ", ".join(sorted({each.target.provider for each in options if each.gate == "residency"}))
        return Failure(
            kind="denied",
            message=f"Requests of this tenant may not go to the provider {names}, which {asked!r} leads to.",
            status=403,
            code="provider_not_allowed",
            param="model",
        )
    return missing(asked, "no target of this route has a configured provider")


def missing(asked: str, why: str) -> Failure:
    """Nobody serves this name."""
    return Failure(
        kind="model_missing",
        message=f"The model {asked!r} is not known here: {why}.",
        status=404,
        code="model_not_found",
        param="model",
    )


def _too_long(options: Sequence[Option], facts: Facts) -> Failure:
    windows = [each.abilities.window for each in options if each.gate == "window"]
    widest = max((window for window in windows if window is not None), default=0)
    return Failure(
        kind="context",
        message=(
            f"This request needs about {needed(facts)} tokens, and the largest context window that it may "
            f"use has {widest}."
        ),
        status=400,
        code="context_length_exceeded",
        param="messages",
    )


def _away(asked: str, passing: Sequence[Option], now_ms: int) -> Failure:
    soonest = min(passing, key=lambda each: (each.until_ms is None, each.until_ms or 0))
    if soonest.keys is not None:
        return soonest.keys.failure
    wait_s = 1.0 if soonest.until_ms is None else max(soonest.until_ms - now_ms, 0) / 1000
    if soonest.gate == "limits":
        return Failure(
            kind="rate",
            message=f"The provider {soonest.target.provider!r} takes no request of this size at the moment.",
            status=429,
            provider=soonest.target.provider,
            code="provider_limits",
            retry_after_s=wait_s,
        )
    return Failure(
        kind="unavailable",
        message=f"No target of {asked!r} is there at the moment.",
        status=503,
        provider=soonest.target.provider,
        code="targets_unavailable",
        retry_after_s=wait_s,
    )
