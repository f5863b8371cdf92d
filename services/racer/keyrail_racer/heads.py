"""The head of a race's answer: the winner's own, and what the race was. Pure."""

from __future__ import annotations

from decimal import Decimal

from keyrail.contracts.frames import Head
from keyrail.contracts.slips import Race, Target

RACE = "x-keyrail-race"
_ATTEMPTS = "x-keyrail-attempts"
_COST = "x-keyrail-cost-usd"


def winners(
    head: Head, race: Race, target: Target, *, started: int, attempts: int, cost_usd: Decimal | None
) -> Head:
    """`attempts`: of the whole request so far. `cost_usd` None: not all is known yet, so it is left out."""
    kept = [(name, value) for name, value in head.headers if name not in (_ATTEMPTS, _COST, RACE)]
    kept.append((_ATTEMPTS, str(attempts)))
    kept.append((RACE, f"mode={race.mode}; winner={target.provider}/{target.model}; started={started}"))
    if cost_usd is not None and any(name == _COST for name, _ in head.headers):
        kept.append((_COST, format(cost_usd, "f")))
    return Head(status=head.status, headers=tuple(kept))


def waiting(race: Race) -> Head:
    """The head of a stream that nobody has won yet, so that its keep-alive comments can go out."""
    return Head(
        status=200,
        headers=(
            ("content-type", "text/event-stream; charset=utf-8"),
            (RACE, f"mode={race.mode}"),
            ("cache-control", "no-cache"),
        ),
    )
