"""`keyrail attempts`: every upstream call."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from keyrail_cli import client, render

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS = (
    "started_at",
    "request_id",
    "role",
    "status",
    "standing",
    "provider",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "basis",
    "duration_ms",
    "failure",
)
OPTIONAL = frozenset({"failure", "duration_ms", "standing"})


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("attempts", help="every upstream call, oldest first")
    parser.add_argument(
        "--since", metavar="TIME", help="30m, 1h, 7d or an RFC 3339 time; without it everything"
    )
    parser.add_json("a list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print all attempts, however many pages. Raises AdminError and NotRunning."""
    asked = {"since": options.since} if options.since else {}
    with client.connect() as admin:
        rows = list(admin.rows("/v1/attempts", asked))
    print(render.as_json(rows) if options.json else render.table(COLUMNS, rows, OPTIONAL))
