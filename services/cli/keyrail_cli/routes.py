"""`keyrail routes`: what is configured, what was learned, and what another configuration would do."""

from __future__ import annotations

import argparse
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from keyrail.http.admin import AdminClient, Rejected, path
from keyrail_cli import client, render, slices
from keyrail_cli.commands import CommandError, Problems, name
from keyrail_cli.render import Row

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

LISTED: Final = ("name", "strategy", "race", "targets", "reference", "cache", "aliases")
TARGETS: Final = (
    "target", "weight", "quality", "tools", "vision", "json_schema", "window", "configured",
)  # fmt: skip
SCORES: Final = ("task", "target", "quality", "low", "high", "verdicts", "in_route")
TUNED: Final = ("tenant", "worth", "kept", "saved", "requests", "tuned_at")
COUNTS: Final = ("decisions", "elsewhere", "refused_before", "refused_after", "compared", "unknown")
SIMULATED: Final = ("route", *COUNTS, "before_usd", "after_usd", "difference_usd")
MOVES: Final = ("route", "from", "to", "decisions")
LIMITS: Final[tuple[str, ...]] = (
    "Breakers, limits, keys and budgets are as they were recorded, whatever the other configuration would"
    " have changed about them.",
    "Quality is as it was recorded, or as it is believed today where none was; no new verdicts come in.",
    "A conversation stays where it was recorded to stay; where another configuration would have led it from"
    " its first turn on is not followed.",
    "A route that is to keep a share of quality is tuned on each 500 of the decisions anew.",
    "Costs are predictions of the first target alone, as recorded or from the prices: neither fallbacks nor"
    " races are in them.",
)
ABOUT: Final = """\
  keyrail routes list
  keyrail routes show chat
  keyrail routes scores chat              what verdicts say of its targets, by task
  keyrail routes simulate --since 7d --config new.yaml"""


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser(
        "routes",
        help="routes: list, show, scores, simulate another configuration",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    listing = verbs.add_parser("list", help="all routes in force")
    listing.add_json("a list")
    listing.set_defaults(run=run_list)
    show = verbs.add_parser("show", help="one route: strategy, targets, rules")
    show.add_argument("name", metavar="NAME")
    show.add_json("an object")
    show.set_defaults(run=run_show)
    scores = verbs.add_parser("scores", help="how good its targets are at each task, by verdicts")
    scores.add_argument("name", metavar="NAME")
    scores.add_argument("--tenant", metavar="NAME", type=name, help="whose verdicts; default: default")
    scores.add_json("a list")
    scores.set_defaults(run=run_scores)
    simulate = verbs.add_parser("simulate", help="decide again what was recorded, with another keyrail.yaml")
    simulate.add_argument("--config", metavar="FILE", type=Path, required=True, help="the other keyrail.yaml")
    simulate.add_argument("--since", metavar="TIME", required=True, help="30m, 1h, 7d or an RFC 3339 time")
    simulate.add_argument("--until", metavar="TIME", help="the same; without it until now")
    simulate.add_argument("--route", metavar="NAME", help="decisions about this route alone")
    simulate.add_argument("--tenant", metavar="NAME", type=name, help="of this tenant alone")
    simulate.add_json("counts and costs by route, and their limits,")
    simulate.set_defaults(run=run_simulate)


def run_list(options: argparse.Namespace) -> None:
    """Print all routes. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        rows = list(admin.rows("/v1/routes", {}))
    if options.json:
        print(render.as_json(rows))
        return
    shown = [
        row
        | {
            "targets": ", ".join(str(each["target"]) for each in cast("list[Row]", row["targets"])),
            "aliases": ", ".join(cast("list[str]", row["aliases"])) or None,
        }
        for row in rows
    ]
    print(render.table(LISTED, shown, frozenset({"race", "aliases"})))


def run_show(options: argparse.Namespace) -> None:
    """Print one route. Raises NotFound, AdminError and NotRunning."""
    with client.connect() as admin:
        route = admin.one("/v1/routes", options.name)
    if options.json:
        print(render.as_json(route))
        return
    print(render.pairs(route, ("name", "strategy", "reference", "revision")))
    for rule, value in cast("Row", route["rules"]).items():
        if isinstance(value, dict):
            print(f"{rule}: {', '.join(f'{k} {render.cell(v)}' for k, v in cast('Row', value).items())}")
        elif value is not None:
            print(f"{rule}: {render.cell(value)}")
    print()
    print(render.table(TARGETS, cast("list[Row]", route["targets"]), frozenset({"weight"})))
    if tuned := cast("list[Row]", route["tuned"]):
        print()
        print(render.table(TUNED, tuned))
        print("worth: of a good answer; kept, saved: shares of the reference's quality and cost, as expected")


def run_scores(options: argparse.Namespace) -> None:
    """Print what was learned. Raises NotFound, AdminError and NotRunning."""
    asked = {"tenant": options.tenant} if options.tenant else {}
    with client.connect() as admin:
        rows = list(admin.rows(path("/v1/routes", options.name, "scores"), asked))
    if options.json:
        print(render.as_json(rows))
    elif rows:
        print(render.table(SCORES, rows))
        print("low and high: nine times in ten the quality is between them")
    else:
        print("there are no verdicts: quality is what keyrail.yaml says")


def run_simulate(options: argparse.Namespace) -> None:
    """Print the comparison. Raises CommandError, AdminError and NotRunning."""
    asked: Row = {"config": _read(options.config), "filename": options.config.name}
    names = ("since", "until", "route", "tenant")
    asked |= {each: value for each in names if (value := getattr(options, each)) is not None}
    with client.connect() as admin:
        try:
            parts = gathered(admin, asked)
        except Rejected as rejected:
            if not rejected.problems:
                raise
            lines = [
                f"{options.config}:{each['line']}: {render.cell(each['message'])}"
                for each in rejected.problems
            ]
            raise Problems("\n".join(lines)) from None
    rows = added(parts)
    unreadable = sum(cast("int", part["unreadable"]) for part in parts)
    limits: list[str] = list(LIMITS)
    if unreadable:
        limits.append(f"{unreadable} decisions can't be read by this version and are left out.")
    if options.json:
        told = {"since": parts[0]["since"], "until": parts[0]["until"], "routes": rows, "limits": limits}
        print(render.as_json(told))
    elif rows:
        print(shown(rows))
        print("\n".join(f"- {line}" for line in limits))
    else:
        print("there are no decisions: only requests that ask for a route have one")


def gathered(admin: AdminClient, asked: Row) -> list[Row]:
    """All parts, at least one. Raises AdminError."""
    found: list[Row] = []
    while True:
        part = admin.post("/v1/simulate", asked)
        found.append(part)
        if part["cursor"] is None:
            return found
        asked = asked | {each: part[each] for each in ("since", "until", "cursor")}


def added(parts: list[Row]) -> list[Row]:
    """One row for each route, the busiest first. Amounts are texts, exact."""
    routes: dict[str, list[Row]] = {}
    for part in parts:
        for row in cast("list[Row]", part["routes"]):
            routes.setdefault(str(row["route"]), []).append(row)
    rows = [_sum(route, its) for route, its in routes.items()]
    return sorted(rows, key=lambda row: (-cast("int", row["decisions"]), str(row["route"])))


def _sum(route: str, rows: list[Row]) -> Row:
    moves: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for move in cast("list[Row]", row["moves"]):
            moves[str(move["from"]), str(move["to"])] += cast("int", move["decisions"])
    whole: Row = {"route": route, **{each: sum(cast("int", row[each]) for row in rows) for each in COUNTS}}
    for each in ("before_usd", "after_usd"):
        whole[each] = format(sum((Decimal(str(row[each])) for row in rows), Decimal(0)), "f")
    told = [{"from": was, "to": now, "decisions": n} for (was, now), n in moves.most_common()]
    return whole | {"difference_usd": slices.difference(whole, "before_usd", "after_usd"), "moves": told}


def shown(rows: list[Row]) -> str:
    """By route, then from where to where."""
    amounts = ("before_usd", "after_usd", "difference_usd")
    lines = [row | {each: slices.short(row[each]) for each in amounts} for row in rows]
    told = [render.table(SIMULATED, lines)]
    moves = [move | {"route": row["route"]} for row in rows for move in cast("list[Row]", row["moves"])]
    told.append(render.table(MOVES, moves) if moves else "every decision would have been the same")
    return "\n\n".join(told)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{file}: not UTF-8") from None
