"""`keyrail config`: checks `keyrail.yaml`, and publishes it as a numbered revision."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyrail.config import document
from keyrail.config.problems import ConfigError
from keyrail.http.admin import Rejected
from keyrail.providers import registry
from keyrail_cli import client, render
from keyrail_cli.commands import CommandError, Parser, Problems

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = ("revision", "applied", "filename", "sha256", "from_revision")
OPTIONAL: Final = frozenset({"from_revision", "filename"})
ABOUT: Final = """\
keyrail.yaml says what Keyrail does: providers, routes, aliases, tenants with their teams, limits, budgets.

  keyrail config check        what is wrong with the file, line by line; nothing needs to run
  keyrail config apply        publish it: every service follows within a second, nothing restarts
  keyrail config rollback 3   go back to what revision 3 said"""


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser(
        "config",
        help="keyrail.yaml: check, apply, show, history, rollback",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    check = verbs.add_parser("check", help="say what is wrong with a file, with line numbers")
    _file(check)
    check.add_json("whether it is right, and what is not,")
    check.set_defaults(run=run_check)
    publish = verbs.add_parser("apply", help="publish a file as the next revision")
    _file(publish)
    publish.add_json("the revision, or what is wrong,")
    publish.set_defaults(run=run_apply)
    history = verbs.add_parser("history", help="all revisions, newest first")
    history.add_json("a list")
    history.set_defaults(run=run_history)
    rollback = verbs.add_parser("rollback", help="publish an old revision again, under a new number")
    rollback.add_argument("revision", metavar="N", type=_revision, help="from `keyrail config history`")
    rollback.add_json("the new revision")
    rollback.set_defaults(run=run_rollback)
    show = verbs.add_parser("show", help="the text of the current revision, as it was applied")
    show.add_json("text, revision, file name and time")
    show.set_defaults(run=run_show)


def _file(verb: Parser) -> None:
    verb.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="default: $KEYRAIL_CONFIG or keyrail.yaml"
    )


def _revision(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 16):
        raise argparse.ArgumentTypeError("must be the number of a revision")
    return int(text)


def run_check(options: argparse.Namespace) -> None:
    """Parse the file here. Raises CommandError, with a line for each problem."""
    file, text = _read(options)
    found: list[render.Row] = []
    try:
        document.parse(text, file.name, registry.configs())
    except ConfigError as error:
        found = [{"line": each.line, "message": each.message} for each in error.problems]
    if options.json:
        print(render.as_json({"ok": not found, "problems": found}))
    elif not found:
        print(f"{file}: nothing is wrong")
    _raise(file, found)


def run_apply(options: argparse.Namespace) -> None:
    """Publish the file. Raises CommandError, AdminError and NotRunning."""
    file, text = _read(options)
    with client.connect() as admin:
        try:
            applied = admin.post("/v1/config/apply", {"text": text, "filename": file.name})
        except Rejected as rejected:
            if not rejected.problems:
                raise
            if options.json:
                print(render.as_json({"ok": False, "problems": rejected.problems}))
            _raise(file, rejected.problems)
            return
    if options.json:
        print(render.as_json(applied))
    elif applied.get("changed"):
        print(f"revision {applied['revision']} is in use")
    else:
        print(f"nothing changed: revision {applied['revision']} says the same")


def run_history(options: argparse.Namespace) -> None:
    """Print all revisions. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        rows = list(admin.rows("/v1/config/history", {}))
    if options.json:
        print(render.as_json(rows))
        return
    shown = [{**render.with_times(row), "sha256": str(row.get("sha256") or "")[:12] or None} for row in rows]
    print(render.table(COLUMNS, shown, OPTIONAL))


def run_rollback(options: argparse.Namespace) -> None:
    """Publish an old revision again. Raises NotFound, AdminError and NotRunning."""
    with client.connect() as admin:
        row = admin.post("/v1/config/rollback", {"revision": options.revision})
    if options.json:
        print(render.as_json(row))
    elif row.get("changed", True):
        print(f"revision {row['revision']} is in use and says what revision {options.revision} said")
    else:
        print(f"nothing changed: revision {row['revision']} says what revision {options.revision} said")


def run_show(options: argparse.Namespace) -> None:
    """Print the text as it is, so that it can go into a file. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        current = admin.get("/v1/config")
    if options.json:
        print(render.as_json(current))
        return
    if current.get("text") is None:
        raise CommandError(f"the text of revision {current['revision']} was not kept; apply a file")
    if current.get("differs_from_file"):
        print("keyrail: this is not what the file said when control started", file=sys.stderr)
    sys.stdout.write(str(current["text"]))


def _read(options: argparse.Namespace) -> tuple[Path, str]:
    environment = os.environ  # noqa: TID251 - where `keyrail up` looks too
    file = options.file or Path(environment.get("KEYRAIL_CONFIG") or "keyrail.yaml")
    try:
        return file, file.read_bytes().decode()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{file}: not UTF-8") from None


def _raise(file: Path, problems: list[render.Row]) -> None:
    lines = [f"{file}:{each['line']}: {render.cell(each['message'])}" for each in problems]
    if lines:
        raise Problems("\n".join(lines))
