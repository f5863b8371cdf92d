"""`keyrail alerts`: what somebody should look at."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from keyrail_cli import client, render

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = ("raised_at", "kind", "tenant", "subject", "detail")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "alerts", help="keys that their provider refuses, budgets that are used up: oldest first"
    )
    parser.add_argument(
        "--since", metavar="TIME", help="30m, 1h, 7d or an RFC 3339 time; without it everything"
    )
    parser.add_json("a list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print alerts. Raises AdminError and NotRunning."""
    asked = {"since": options.since} if options.since else {}
    with client.connect() as admin:
        rows = list(admin.rows("/v1/alerts", asked))
    print(render.as_json(rows) if options.json else render.table(COLUMNS, rows))
