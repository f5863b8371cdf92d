"""Headers of an answer, in the client's dialect. Pure."""

from __future__ import annotations

from decimal import Decimal

from keyrail.contracts.frames import Head
from keyrail.contracts.slips import Slip

MAX_DROPPED = 2_048


def head(
    slip: Slip,
    dropped: tuple[str, ...],
    *,
    length: int | None = None,
    cost_usd: Decimal | None = None,
    more: tuple[tuple[str, str], ...] = (),
) -> Head:
    """The head of a successful answer; `length` None means a stream. `dropped`: see Prepared.

    `more`: what the cache says.
    """
    target = slip.target
    headers = [
        ("content-type", "text/event-stream; charset=utf-8" if length is None else "application/json"),
        ("x-keyrail-provider", target.provider),
        ("x-keyrail-model", target.model),
        ("x-keyrail-attempts", str(len(slip.spent) + 1)),
    ]
    if slip.facts.output_cap is not None:
        headers.append(("x-keyrail-output-cap", str(slip.facts.output_cap)))
    if length is None:
        headers.append(("cache-control", "no-cache"))
    else:
        headers.append(("content-length", str(length)))
    if dropped:
        headers.append(("x-keyrail-dropped", _names(dropped)))
    if cost_usd is not None:
        headers.append(("x-keyrail-cost-usd", format(cost_usd, "f")))
    return Head(status=200, headers=(*headers, *more))


def _names(dropped: tuple[str, ...]) -> str:
    """Their names as a header can hold them: the client chose them."""
    text = ", ".join(name.encode("ascii", "backslashreplace").decode() for name in dropped)
    text = "".join(each if each.isprintable() else "?" for each in text)
    return text if len(text) <= MAX_DROPPED else text[: MAX_DROPPED - 3] + "..."


def total(slip: Slip, cost_usd: Decimal | None) -> Decimal | None:
    """The request's cost with this attempt's; None as soon as one is unknown."""
    if not slip.spent or cost_usd is None:
        return cost_usd
    earlier = [spent.cost_usd for spent in slip.spent]
    known = [cost for cost in earlier if cost is not None]
    return sum(known, cost_usd) if len(known) == len(earlier) else None
