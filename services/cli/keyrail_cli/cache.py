"""`keyrail cache`: answers that are kept to be given again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final, cast

from keyrail.http.admin import Row
from keyrail_cli import client, render

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = ("tenant", "entries")


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser("cache", help="answers that are kept to be given again: count, remove")
    verbs = parser.add_subparsers(required=True, metavar="verb")
    stats = verbs.add_parser(
        "stats",
        help="how many are kept, of whom",
        description="What they saved: `keyrail costs --savings --by team`.",
    )
    stats.add_json("entries, bytes, most_bytes and tenants")
    stats.set_defaults(run=run_stats)
    purge = verbs.add_parser("purge", help="remove a tenant's, or all")
    whose = purge.add_mutually_exclusive_group(required=True)
    whose.add_argument("--tenant", help="of this tenant alone")
    whose.add_argument("--all", action="store_true", help="everybody's")
    purge.add_json("tenant and purged")
    purge.set_defaults(run=run_purge)


def run_stats(options: argparse.Namespace) -> None:
    """Print what is kept. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        kept = admin.get("/v1/cache")
    if options.json:
        print(render.as_json(kept))
        return
    print(f"{kept['entries']} answers, {kept['bytes']} of {kept['most_bytes']} bytes")
    rows = cast("list[Row]", kept["tenants"])
    if rows:
        print(render.table(COLUMNS, rows))


def run_purge(options: argparse.Namespace) -> None:
    """Remove them. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        told = admin.post("/v1/cache/purges", {"tenant": options.tenant} if options.tenant else {})
    print(render.as_json(told) if options.json else f"removed {told['purged']} answers")
