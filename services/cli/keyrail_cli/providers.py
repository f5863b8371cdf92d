"""`keyrail providers`: whom this installation can call."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from keyrail_cli import client, render

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS = ("provider", "key", "native", "faces", "prices", "base_url")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("providers", help="providers, which of them have a key, what each supports")
    parser.add_json("a list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print all providers. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        rows = list(admin.rows("/v1/providers", {}))
    print(render.as_json(rows) if options.json else render.table(COLUMNS, [_shown(row) for row in rows]))


def _shown(row: render.Row) -> render.Row:
    return {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in row.items()
    }
