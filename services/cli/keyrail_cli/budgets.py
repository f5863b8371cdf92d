"""`keyrail budgets`: what of each budget is spent, in this day or month."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from keyrail_cli import client, render

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = ("scope", "period", "usd", "soft", "spent_usd", "committed_usd", "left_usd")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "budgets",
        help="what of each budget is spent and left",
        description="Budgets of keys, teams and tenants in the current day or month (UTC). What is committed"
        " is spent, or held for requests under way.",
    )
    parser.add_json("a list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print all budgets. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        rows = list(admin.rows("/v1/budgets", {}))
    print(render.as_json(rows) if options.json else render.table(COLUMNS, rows))
