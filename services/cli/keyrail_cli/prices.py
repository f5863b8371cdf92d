"""`keyrail prices`: which are in force, setting one, and which there were."""

from __future__ import annotations

import argparse
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from keyrail.http.admin import Rejected
from keyrail_cli import client, render
from keyrail_cli.commands import CommandError, Parser, Problems
from keyrail_cli.render import Row

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

RATES: Final = (
    "input", "output", "cache_read", "cache_write", "cache_write_1h", "audio_input", "audio_output",
    "searches",
)  # fmt: skip
LISTED: Final = ("provider", "model", *RATES, "tier", "source", "version")
HISTORY: Final = ("source", "version", "model", "since", "recorded", "removed", *RATES, "discount", "hours")
OPTIONAL: Final = frozenset({*RATES, "tier", "version", "recorded", "removed", "discount", "hours", "model"})
ABOUT: Final = """\
US dollars per million tokens (searches: per thousand), as attempts are priced that begin now.

  keyrail prices list                      of models that are named in keyrail.yaml, or were used in 30 days
  keyrail prices set mine/m --input 1 --output 4
  keyrail prices set mine/m --input 2 --output 8 --from 2026-12-01
  keyrail prices history openai/gpt-5.4    what it was in which revision, and the catalogue's dated prices

`set` edits the text of keyrail.yaml that is in force and publishes it as the next revision. Attempts that
have been made keep their price until `keyrail reprice`."""
_MODEL = re.compile(r"[a-z0-9][a-z0-9-]{0,63}/[!-~]{1,200}")
_PROVIDER = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser(
        "prices",
        help="what models cost: list, set, history",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    listed = verbs.add_parser("list", help="prices in force")
    listed.add_argument("what", metavar="PROVIDER[/MODEL]", nargs="?", type=provider_or_model)
    listed.add_json("a list")
    listed.set_defaults(run=run_list)
    given = verbs.add_parser("set", help="set a price: a new revision of keyrail.yaml")
    given.add_argument("model", metavar="PROVIDER/MODEL", type=model)
    for name in RATES:
        _rate(given, name, required=name in ("input", "output"))
    given.add_argument(
        "--from",
        dest="since",
        metavar="DATE",
        help="from then on (UTC), such as 2026-12-01; before it, as it is",
    )
    given.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    given.add_json("the revision, and what changed in the text,")
    given.set_defaults(run=run_set)
    history = verbs.add_parser("history", help="prices that a model had and will have, oldest first")
    history.add_argument("model", metavar="PROVIDER/MODEL", type=model)
    history.add_json("a list")
    history.set_defaults(run=run_history)


def _rate(verb: Parser, name: str, *, required: bool) -> None:
    unit = "thousand" if name == "searches" else "million tokens"
    option = f"--{name.replace('_', '-')}"
    verb.add_argument(option, metavar="USD", type=usd, required=required, help=f"US dollars per {unit}")


def model(text: str) -> str:
    """`provider/model`."""
    if not _MODEL.fullmatch(text):
        raise argparse.ArgumentTypeError("must be provider/model")
    return text


def name_of_provider(text: str) -> str:
    """`provider`."""
    if not _PROVIDER.fullmatch(text):
        raise argparse.ArgumentTypeError("must be the name of a provider")
    return text


def provider_or_model(text: str) -> str:
    """`provider` or `provider/model`."""
    if not (_PROVIDER.fullmatch(text) or _MODEL.fullmatch(text)):
        raise argparse.ArgumentTypeError("must be a provider, or provider/model")
    return text


def usd(text: str) -> str:
    """A rate."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not (amount.is_finite() and 0 <= amount <= 1_000_000):
        raise argparse.ArgumentTypeError("must be US dollars, such as 2.5")
    return format(amount, "f")


def run_list(options: argparse.Namespace) -> None:
    """Print the prices in force. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        rows = list(admin.rows("/v1/prices", _named(options.what or "")))
    if options.json:
        print(render.as_json(rows))
    else:
        shown = [each for row in rows for each in tiers(row)]
        print(render.table(LISTED, shown, OPTIONAL - ({"source"} if shown else set())))


def tiers(row: Row) -> list[Row]:
    """A line for each size of prompt that has rates of its own."""
    found: list[Row] = [row]
    more = row.get("tiers")
    for tier in more if isinstance(more, list) else []:
        rates = {name: tier.get(name) for name in RATES}
        found.append(row | rates | {"tier": f"above {tier['above_tokens']}"})
    return found


def run_set(options: argparse.Namespace) -> None:
    """Set a price. Raises CommandError, AdminError and NotRunning."""
    rates = {name: value for name in RATES if (value := getattr(options, name)) is not None}
    body: Row = {**_named(options.model), **rates, "dry_run": options.dry_run}
    if options.since is not None:
        body["from"] = options.since
    with client.connect() as admin:
        try:
            done = admin.post("/v1/prices", body)
        except Rejected as rejected:
            if not rejected.problems:
                raise
            lines = [f"line {each['line']}: {render.cell(each['message'])}" for each in rejected.problems]
            raise Problems("keyrail: the text would not be right:\n" + "\n".join(lines)) from None
    print(render.as_json(done) if options.json else said(done, dry_run=options.dry_run))


def said(done: Row, *, dry_run: bool) -> str:
    """What was done, for people."""
    if not done["changed"]:
        return f"nothing changed: revision {done['revision']} says the same"
    diff = "\n".join(render.cell(line) for line in str(done["diff"]).splitlines())
    if dry_run:
        return f"{diff}\nnothing was changed: without --dry-run this becomes the next revision"
    return (
        f"{diff}\nrevision {done['revision']} is in use; your file is as it was, and differs now."
        " To save it: keyrail config show > keyrail.yaml"
    )


def run_history(options: argparse.Namespace) -> None:
    """Print what a model's price was. Raises AdminError, NotRunning and CommandError."""
    with client.connect() as admin:
        rows = list(admin.rows("/v1/prices/history", _named(options.model)))
    if options.json:
        print(render.as_json(rows))
    elif rows:
        print(render.table(HISTORY, [past(row) for row in rows], OPTIONAL))
    else:
        raise CommandError("neither a revision nor the catalogue has a price of this model")


def past(row: Row) -> Row:
    """A version as people read it."""
    if row["source"] != "configured":
        return row | {"since": row["since"] or "ever"}
    since, recorded = row["since_ms"], row["recorded_ms"]
    return row | {
        "version": f"revision {row['revision']}",
        "since": render.moment(since) if isinstance(since, int) and since else "ever",
        "recorded": render.moment(recorded) if isinstance(recorded, int) else None,
        "removed": row["removed"] or None,
    }


def _named(text: str) -> dict[str, str]:
    provider, _, name = text.partition("/")
    return {key: value for key, value in (("provider", provider), ("model", name)) if value}
