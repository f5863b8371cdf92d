"""`keyrail reprice`: what attempts cost at the prices in force now: shown first, then written."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from keyrail.http.admin import AdminClient
from keyrail_cli import client, render, slices
from keyrail_cli.commands import CommandError
from keyrail_cli.prices import name_of_provider
from keyrail_cli.render import Row

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = (
    "provider", "model", "attempts", "changed", "old_usd", "new_usd", "difference_usd", "newly_known",
    "newly_unknown",
)  # fmt: skip
ABOUT: Final = """\
Prices attempts of the past again, each as of the time at which it was made, by the prices in force now: those
of the current revision of keyrail.yaml and of the catalogue of this version. What a provider reported itself,
what was not billed and the sandbox stay as they are. The difference by model is shown before anything is
written; only rows that change are written, and nothing else in them changes. Budgets are not touched."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "reprice",
        help="price attempts of the past again",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--since", metavar="TIME", required=True, help="30m, 1h, 7d or an RFC 3339 time")
    parser.add_argument("--until", metavar="TIME", help="the same; without it until now")
    parser.add_argument("--provider", metavar="NAME", type=name_of_provider, help="of this provider alone")
    parser.add_argument("--model", metavar="NAME", help="of this model alone, as the provider calls it")
    parser.add_argument("--dry-run", action="store_true", help="show the difference and write nothing")
    parser.add_argument("--yes", action="store_true", help="write without asking")
    parser.add_json("what changes by model, and how many rows were written,")
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class Plan:
    """A dry run: what was asked, and all that was answered."""

    asked: Row
    slices: list[Row]

    @property
    def changing(self) -> list[Row]:
        """The questions that write what was shown."""
        after = [None, *(each["cursor"] for each in self.slices)]
        return [
            self.asked | ({"cursor": cursor} if cursor else {})
            | {"to": each["cursor"], "digest": each["digest"], "write": True}
            for cursor, each in zip(after, self.slices, strict=False)
            if each["digest"]
        ]  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Show, ask, write. Raises CommandError, AdminError and NotRunning."""
    names = ("since", "until", "provider", "model")
    asked: Row = {name: value for name in names if (value := getattr(options, name)) is not None}
    with client.connect() as admin:
        plan = look(admin, asked)
        rows = slices.added(plan.slices)
        whole = slices.total(rows)
        told: Row = {"since": plan.asked["since"], "until": plan.asked["until"], "models": rows, "written": 0}
        if not options.json:
            print(shown(plan, rows, whole))
        if plan.changing and not options.dry_run:
            _agreed(options, whole)
            told["written"] = write(admin, plan)
            if not options.json:
                print(done(told["written"], whole["changed"]))
    if options.json:
        print(render.as_json(told))


def look(admin: AdminClient, asked: Row) -> Plan:
    """The dry run. Raises AdminError."""
    found: list[Row] = []
    while True:
        page = admin.post("/v1/reprice", asked)
        asked = asked | {"since": page["since"], "until": page["until"]}
        if page["cursor"] is None:
            asked.pop("cursor", None)
            return Plan(asked, found)
        found.append(page)
        asked["cursor"] = page["cursor"]


def write(admin: AdminClient, plan: Plan) -> int:
    """Write what was shown, slice by slice; returns how many rows were written. Raises AdminError."""
    written = 0
    for question in plan.changing:
        count = admin.post("/v1/reprice", question)["written"]
        written += count if isinstance(count, int) else 0
    return written


def shown(plan: Plan, rows: list[Row], whole: Row) -> str:
    """The difference by model."""
    if not rows:
        return "there are no attempts to price again"
    lines = [
        row
        | {name: slices.short(row[name]) for name in ("old_usd", "new_usd")}
        | {"difference_usd": slices.short(slices.difference(row, "old_usd", "new_usd"))}
        for row in [*rows, whole]
    ]
    told = [render.table(COLUMNS, lines, frozenset({"model"}))]
    newest = plan.slices[-1]
    told.append(f"prices of revision {newest['revision']} and catalogue {newest['catalogue']}")
    if whole["stuck"]:
        told.append(
            f"{whole['stuck']} attempts can't be written again: they were 250 times, or cost too much"
        )
    return "\n".join(told)


def done(written: object, changed: object) -> str:
    """What became of it."""
    if written == changed:
        return f"{written} attempts have their new price"
    return f"{written} attempts have their new price; the others of {changed} had it already"


def _agreed(options: argparse.Namespace, whole: Row) -> None:
    """Return when it may be written. Raises CommandError."""
    if options.yes:
        return
    if options.json or not sys.stdin.isatty():
        raise CommandError("nothing was written: say --yes to write without being asked, or --dry-run")
    more = Decimal(slices.difference(whole, "old_usd", "new_usd"))
    question = f"write new prices of {whole['changed']} attempts ({more:+f} USD)? [y/N] "
    if input(question).strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was written")
