"""A decision of routing as people read it. Pure."""

from __future__ import annotations

from typing import Final, cast

from keyrail_cli import render
from keyrail_cli.render import Row

COLUMNS: Final = (
    "chosen", "target", "gate", "quality", "verdicts", "probability", "cost_usd", "latency_s", "share",
)  # fmt: skip
OPTIONAL: Final = frozenset(COLUMNS) - {"target"}
_PLACES: Final = {"quality": 3, "verdicts": 1, "probability": 3, "latency_s": 3, "share": 2}


def explained(decision: Row) -> str:
    """A sentence, and a table of the targets that were looked at: `*` is the one that was to be asked first,
    numbers are those that were to follow."""
    targets = cast("list[str]", decision["targets"])
    candidates = cast("list[Row]", decision["candidates"])
    told = sentence(decision)
    if not candidates:
        return told
    rows = [_row(each, targets) for each in candidates]
    return f"{told}\n{render.table(COLUMNS, rows, OPTIONAL)}"


def sentence(decision: Row) -> str:
    """Why, and under which configuration."""
    reason = render.cell(decision["reason"]).rstrip(".")
    again = f"dispatch {decision['epoch']}: " if decision["epoch"] else ""
    task = f", task {render.cell(decision['task'])}" if decision["task"] is not None else ""
    chance = decision["propensity"]
    drawn = f", chosen with a probability of {chance:.3g}" if isinstance(chance, float) and chance < 1 else ""
    refused = "refused: " if decision["failure"] is not None else ""
    return f"{again}{refused}{reason} ({decision['code']}, revision {decision['revision']}{task}{drawn})"


def _row(candidate: Row, targets: list[str]) -> Row:
    name = candidate["target"]
    place = targets.index(name) if isinstance(name, str) and name in targets else None
    shown: Row = {**candidate, "chosen": None if place is None else "*" if place == 0 else str(place + 1)}
    for field, places in _PLACES.items():
        value = shown.get(field)
        if isinstance(value, int | float):
            shown[field] = round(value, places)
    return shown
