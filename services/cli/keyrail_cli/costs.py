"""`keyrail costs`: what was spent, on what."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from keyrail_cli import client, render
from keyrail_cli.bars import bars
from keyrail_cli.render import Row
from keyrail_cli.watch import watch

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

GROUPINGS: Final = {
    "model": ("provider", "model"),
    "provider": ("provider",),
    "team": ("team",),
    "feature": ("feature",),
    "route": ("route",),
    "key": ("key_id",),
    "provider_key": ("provider", "provider_key_id"),
    "day": ("day",),
    "hour": ("hour",),
    "minute": ("minute",),
}
IN_ORDER: Final = frozenset({"day", "hour", "minute"})
OPTIONAL: Final = frozenset({"team", "feature", "route", "provider_key_id"})
"""What an attempt need not have: blank, as nothing about it is unknown."""
SUMS: Final = ("requests", "attempts", "input_tokens", "output_tokens", "cost_usd", "unknown_cost_attempts")
WASTE: Final = ("failed_usd", "retried_usd", "estimated_usd")
SAVINGS: Final = ("cache_saved_usd", "routing_saved_usd")
EVERYTHING: Final = (
    *("requests", "attempts", "ok", "input_tokens", "output_tokens", "cost_usd", "unknown_cost_attempts"),
    *WASTE,
    *SAVINGS,
)
EVERY_S: Final = 2.0
LONGEST_BAR: Final = 60
SHORTEST_BAR: Final = 10


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "costs",
        help="what was spent, on what",
        description="Sums over upstream attempts; a request's retries and fallbacks are attempts too. Amounts"
        " are in US dollars, of the attempts whose cost is known; the others are counted.",
    )
    parser.add_argument("--by", choices=list(GROUPINGS), help="one row for each; without it the total")
    when = "30m, 1h, 7d or an RFC 3339 time"
    parser.add_argument("--since", metavar="TIME", help=f"{when}; without it everything")
    parser.add_argument("--until", metavar="TIME", help=f"{when}; without it up to now")
    parser.add_argument(
        "--waste", action="store_true", help="what failed and repeated attempts cost, and what is estimated"
    )
    parser.add_argument(
        "--savings", action="store_true", help="what caches and routes saved; below zero: cost more"
    )
    parser.add_argument(
        "--bars", action="store_true", help="draw bars also where it is not shown on a terminal"
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        const=EVERY_S,
        type=_seconds,
        metavar="SECONDS",
        help=f"show it again every {EVERY_S:g} seconds, or as often as said, until Ctrl-C",
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--format", choices=("table", "json", "csv"), default="table", help="how to print it")
    shape.add_argument(
        "--json", dest="format", action="store_const", const="json", help="print a list as JSON, for programs"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the costs, the dearest first (times in order). Raises AdminError and NotRunning."""
    asked = {name: getattr(options, name) for name in ("by", "since", "until") if getattr(options, name)}
    with client.connect() as admin:

        def look() -> str:
            rows = list(admin.rows("/v1/costs", asked))
            if options.by not in IN_ORDER:
                rows.sort(key=_dearest)
            return _rendered(options, rows)

        if options.watch is None:
            print(look())
        else:
            watch(look, options.watch)


def _rendered(options: argparse.Namespace, rows: list[Row]) -> str:
    names = GROUPINGS.get(options.by, ())
    if options.format == "json":
        return render.as_json(rows) if options.watch is None else json.dumps(rows, ensure_ascii=False)
    if options.format == "csv":
        return render.as_csv(names, EVERYTHING, rows, OPTIONAL)
    text = render.table((*names, *_columns(options)), rows, optional=OPTIONAL)
    if options.bars or (names and sys.stdout.isatty()):
        text = _with_bars(text, rows, forced=options.bars)
    return text


def _columns(options: argparse.Namespace) -> Sequence[str]:
    more = (*(WASTE if options.waste else ()), *(SAVINGS if options.savings else ()))
    if not more:
        return SUMS
    return ("requests", "attempts", "cost_usd", *more, "unknown_cost_attempts")


def _with_bars(text: str, rows: Sequence[Row], *, forced: bool) -> str:
    """The table's lines with a bar of the cost behind each, where the terminal is wide enough."""
    lines = text.split("\n")
    used = max(map(len, lines)) + 2
    width = min(LONGEST_BAR, shutil.get_terminal_size().columns - used)
    if width < SHORTEST_BAR:
        if not forced:
            return text
        width = SHORTEST_BAR
    drawn = bars([_cost(row) for row in rows], width, sys.stdout.encoding)
    return "\n".join(f"{line:<{used}}{bar}".rstrip() for line, bar in zip(lines, ("", *drawn), strict=True))


def _dearest(row: Row) -> Decimal:
    return -(_cost(row) or Decimal(0))


def _cost(row: Row) -> Decimal | None:
    cost = row["cost_usd"]
    return Decimal(cost) if isinstance(cost, str) else None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("must be a number of seconds, from 0.1 to 86400")
    return seconds
