"""`keyrail whatif`: what the same traffic would have cost at another model, or under another contract."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyrail.http.admin import AdminClient, Rejected
from keyrail_cli import client, render, slices
from keyrail_cli.commands import CommandError, Problems
from keyrail_cli.prices import model
from keyrail_cli.render import Row

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = (
    "provider", "model", "attempts", "input_tokens", "output_tokens", "compared", "actual_usd", "what_if_usd",
    "difference_usd", "no_cache_usd", "unknown_actual", "unknown_what_if",
)  # fmt: skip
MONEY: Final = ("actual_usd", "what_if_usd", "no_cache_usd")
ABOUT: Final = """\
Prices attempts of the past elsewhere, from the tokens that they used. Nothing is written, and no provider
is asked.

  keyrail whatif --model groq/openai/gpt-oss-120b --since 7d --route fast
  keyrail whatif --contract offer.yaml --since 30d     the prices and discounts of another keyrail.yaml
  keyrail whatif --contract offer.yaml --since 30d --at 2027-01-01T00:00:00Z     as they will be then"""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "whatif",
        help="what the same traffic would have cost elsewhere",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", metavar="PROVIDER/MODEL", type=model, help="all of it at this model")
    parser.add_argument("--contract", metavar="FILE", type=Path, help="prices of another keyrail.yaml")
    parser.add_argument("--since", metavar="TIME", required=True, help="30m, 1h, 7d or an RFC 3339 time")
    parser.add_argument("--until", metavar="TIME", help="the same; without it until now")
    parser.add_argument("--at", metavar="TIME", help="at the prices of then; without it of when it was made")
    for name in ("route", "team", "feature"):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"of this {name} alone")
    parser.add_json("sums by model, the total and the limits")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the comparison. Raises CommandError, AdminError and NotRunning."""
    if options.model is None and options.contract is None:
        raise CommandError("say --model, --contract, or both")
    names = ("model", "since", "until", "at", "route", "team", "feature")
    asked: Row = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.contract is not None:
        asked |= {"contract": _read(options.contract), "filename": options.contract.name}
    with client.connect() as admin:
        try:
            pages = gathered(admin, asked)
        except Rejected as rejected:
            if not rejected.problems:
                raise
            lines = [
                f"{options.contract}:{each['line']}: {render.cell(each['message'])}"
                for each in rejected.problems
            ]
            raise Problems("\n".join(lines)) from None
    rows = slices.added(pages)
    rows = [row | {"difference_usd": slices.difference(row, "actual_usd", "what_if_usd")} for row in rows]
    whole = slices.total(rows)
    told = limits(whole, pages, elsewhere=options.model is not None) if rows else []
    if options.json:
        print(render.as_json({"models": rows, "total": whole if rows else None, "limits": told}))
    elif rows:
        print(shown(rows, whole))
        print("\n".join(f"- {line}" for line in told))
    else:
        print("there are no attempts whose usage is known")


def gathered(admin: AdminClient, asked: Row) -> list[Row]:
    """All slices. Raises AdminError."""
    found: list[Row] = []
    while True:
        page = admin.post("/v1/whatif", asked)
        if page["cursor"] is None:
            return found
        found.append(page)
        asked = asked | {name: page[name] for name in ("since", "until", "cursor")}


def shown(rows: list[Row], whole: Row) -> str:
    """By the model that did answer."""
    lines = [
        row | {name: slices.short(row[name]) for name in (*MONEY, "difference_usd")} for row in [*rows, whole]
    ]
    return render.table(COLUMNS, lines, frozenset({"model"}))


def limits(whole: Row, pages: list[Row], *, elsewhere: bool) -> list[str]:
    """What these figures can't say, as sentences."""
    told = ["Sums are of attempts whose cost is known both ways (compared); the others are counted apart."]
    if whole["estimated"]:
        told.append(f"{whole['estimated']} attempts have estimated tokens: their provider sent none.")
    if not elsewhere:
        return told
    told += [
        "Another model counts the same text as other tokens, and answers at another length.",
        "What if assumes the same cache hits, no cache that there are none: the truth is between them,"
        " or beyond where the other provider caches more.",
    ]
    if whole["searches"]:
        told.append(
            f"Fees for searches and tools of another provider are left out ({whole['searches']} attempts)."
        )
    window = next((page["context"] for page in pages if page["context"] is not None), None)
    if window is None:
        told.append("Nobody knows how long a prompt the model takes.")
    elif whole["too_long"]:
        told.append(f"{whole['too_long']} attempts are longer than the {window} tokens that the model takes.")
    return told


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{file}: not UTF-8") from None
