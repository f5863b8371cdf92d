"""`keyrail tokens`: virtual keys, the credentials that applications hold."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final, cast

from keyrail.contracts.base import now_ms
from keyrail.http.admin import Row, path
from keyrail_cli import client, render
from keyrail_cli.commands import Parser, count, several

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = ("id", "state", "tenant", "team", "feature", "models", "limits", "budgets", "expires")
OPTIONAL: Final = frozenset({"team", "feature", "models", "limits", "budgets", "expires"})
LIMITS: Final = ("rpm", "tpm", "concurrent")
ABOUT: Final = """\
Virtual keys: what applications send to Keyrail instead of a provider's key. One is shown when it is issued
and never again, as Keyrail keeps only its hash.

  keyrail tokens issue --team search --models 'openai/*,fast' --rpm 60 --budget 10/day --expires 30d
  keyrail tokens rotate 1a2b3c4d --overlap 24h    a new secret; the old one is good for another day
  keyrail tokens revoke 1a2b3c4d                  refused from the next second on"""


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser(
        "tokens",
        help="virtual keys for applications: issue, list, rotate, revoke",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    _register_issue(verbs)
    shown = verbs.add_parser("list", help="all virtual keys: never their secrets")
    shown.add_json("a list")
    shown.set_defaults(run=run_list)
    rotate = verbs.add_parser("rotate", help="a new secret for the same id, whose limits and budgets go on")
    _id(rotate)
    rotate.add_argument(
        "--overlap", metavar="SPAN", help="how long the old secret stays good: 30m, 24h, 7d (default: not)"
    )
    rotate.add_json("id and key")
    rotate.set_defaults(run=run_rotate)
    revoke = verbs.add_parser("revoke", help="refuse a virtual key from now on; it can't be taken back")
    _id(revoke)
    revoke.add_json("its row")
    revoke.set_defaults(run=run_revoke)


def _register_issue(verbs: Commands) -> None:
    issue = verbs.add_parser("issue", help="make a virtual key and show it, this once")
    issue.add_argument("--tenant", help="whose provider keys it uses, who pays (default: default)")
    issue.add_argument("--team", help="tag for all that is asked with it")
    issue.add_argument("--feature", help="tag for all that is asked with it")
    issue.add_argument(
        "--no-tags", action="store_true", help="requests can't name a team or feature that the key lacks"
    )
    issue.add_argument(
        "--models",
        metavar="PATTERN",
        action="append",
        default=[],
        help="what may be asked for: routes, aliases, provider/model; * and ? as in a shell; several with"
        " commas, or the option repeated (default: everything)",
    )
    issue.add_argument("--rpm", metavar="N", type=count, help="requests a minute")
    issue.add_argument("--tpm", metavar="N", type=count, help="tokens a minute, such as 200k")
    issue.add_argument("--concurrent", metavar="N", type=count, help="requests at the same time")
    issue.add_argument(
        "--budget",
        metavar="USD[/day|/month][/soft]",
        action="append",
        default=[],
        help="most US dollars in each day or month (default: month); a soft one only alerts; may be repeated",
    )
    issue.add_argument(
        "--expires", metavar="WHEN", help="30d, 12h, or an RFC 3339 time (default: it does not)"
    )
    issue.add_json("an object with id and key")
    issue.set_defaults(run=run_issue)


def _id(verb: Parser) -> None:
    verb.add_argument("id", metavar="ID", help="the part of the key after kr_, as in `keyrail tokens list`")


def run_issue(options: argparse.Namespace) -> None:
    """Issue and show. Raises AdminError and NotRunning."""
    asked: Row = {
        name: value
        for name in ("tenant", "team", "feature", *LIMITS, "expires")
        if (value := getattr(options, name)) is not None
    }
    if options.no_tags:
        asked["tags"] = False
    if models := several(options.models):
        asked["models"] = models
    if budgets := several(options.budget):
        asked["budgets"] = budgets
    with client.connect() as admin:
        issued = admin.post("/v1/tokens", asked)
    _show_key(issued, f"virtual key {render.cell(issued['id'])}", as_json=options.json)


def run_rotate(options: argparse.Namespace) -> None:
    """Rotate and show. Raises NotFound, AdminError and NotRunning."""
    asked: Row = {} if options.overlap is None else {"overlap": options.overlap}
    with client.connect() as admin:
        rotated = admin.post(path("/v1/tokens", options.id, "rotate"), asked)
    until = rotated.get("previous_until_ms")
    old = f"; its old secret is good until {render.moment(until)}" if isinstance(until, int) else ""
    _show_key(rotated, f"virtual key {render.cell(rotated['id'])}{old}", as_json=options.json)


def run_revoke(options: argparse.Namespace) -> None:
    """Revoke. Raises NotFound, AdminError and NotRunning."""
    with client.connect() as admin:
        row = admin.delete(path("/v1/tokens", options.id))
    print(render.as_json(row) if options.json else f"revoked virtual key {options.id}")


def run_list(options: argparse.Namespace) -> None:
    """Print all virtual keys. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        rows = list(admin.rows("/v1/tokens", {}))
    if options.json:
        print(render.as_json(rows))
        return
    now = now_ms()
    print(render.table(COLUMNS, [_shown(row, now) for row in rows], OPTIONAL))


def _show_key(answer: Row, what: str, *, as_json: bool) -> None:
    """The one time that a key is seen; on a line of its own, to be copied."""
    if as_json:
        print(render.as_json(answer))
    else:
        print(f"{what}. It is shown this once, as only its hash is kept:\n{answer['key']}")


def _shown(row: Row, now: int) -> Row:
    limits = ", ".join(f"{row[name]} {name}" for name in LIMITS if row.get(name) is not None)
    lists = {name: ", ".join(cast("list[str]", row.get(name) or [])) for name in ("models", "budgets")}
    return render.with_times({**row, **lists, "limits": limits or None, "state": _state(row, now)})


def _state(row: Row, now: int) -> str:
    expires, previous = row.get("expires_ms"), row.get("previous_until_ms")
    if row.get("revoked"):
        return "revoked"
    if isinstance(expires, int) and expires <= now:
        return "expired"
    return "two secrets" if isinstance(previous, int) and previous > now else "active"
