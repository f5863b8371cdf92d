"""`keyrail costs`: what was spent, on what."""

from __future__ import annotations

import argparse
from decimal import Decimal
from typing import TYPE_CHECKING

from keyrail_cli import client, render
from keyrail_cli.render import Row

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

GROUPINGS = {
    "model": ("provider", "model"),
    "provider": ("provider",),
    "team": ("team",),
    "feature": ("feature",),
    "day": ("day",),
}
SUMS = ("requests", "attempts", "input_tokens", "output_tokens", "cost_usd", "unknown_cost_attempts")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("costs", help="what was spent, on what")
    parser.add_argument("--by", choices=list(GROUPINGS), help="one row for each; without it the total")
    parser.add_argument(
        "--since", metavar="TIME", help="30m, 1h, 7d or an RFC 3339 time; without it everything"
    )
    parser.add_json("a list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the costs, the dearest first (days in order). Raises AdminError and NotRunning."""
    asked = {"by": options.by, "since": options.since}
    with client.connect() as admin:
        rows = list(admin.rows("/v1/costs", {name: value for name, value in asked.items() if value}))
    if options.by != "day":
        rows.sort(key=_dearest)
    if options.json:
        print(render.as_json(rows))
    else:
        columns = (*GROUPINGS.get(options.by, ()), *SUMS)
        print(render.table(columns, rows, optional=frozenset({"team", "feature"})))


def _dearest(row: Row) -> Decimal:
    cost = row["cost_usd"]
    return -Decimal(cost) if isinstance(cost, str) else Decimal(0)
