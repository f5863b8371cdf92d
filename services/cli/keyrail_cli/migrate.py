"""`keyrail migrate`: the ledger's tables and roles, brought to what this release needs."""

from __future__ import annotations

import argparse
import getpass
import os
import socket
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from keyrail_cli import render
from keyrail_cli.commands import CommandError
from keyrail_cli.home import home
from keyrail_embedded.home import Home, HomeInUse

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands
    from keyrail_cost_accounting.migrate import State
    from keyrail_cost_accounting.settings import LedgerSettings

ABOUT: Final = """\
Applies the migrations of this release to the ledger: the ClickHouse at $KEYRAIL_LEDGER (with
$KEYRAIL_LEDGER_USER and $KEYRAIL_LEDGER_PASSWORD), or the one in the home. Safe to repeat, and to run while
services run: migrations only add. On a server of your own that is several, $KEYRAIL_LEDGER_CLUSTER names the
cluster and $KEYRAIL_LEDGER_REPLICATED=true says that its tables are replicated."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "migrate",
        help="bring the ledger's tables to what this release needs",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit status 1 when something is to be done"
    )
    parser.add_argument(
        "--access", action="store_true", help="make the roles too (keyrail_writer, keyrail_reader, ...)"
    )
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="for another migration to end (30)"
    )
    parser.add_argument(
        "--take-over", action="store_true", help="from a migration that died: only when its lock has expired"
    )
    parser.add_argument(
        "--rebuild-sums", action="store_true", help="then compute the sums again from the rows, all of them"
    )
    parser.add_argument(
        "--since", metavar="YYYY-MM-DD", type=_day, help="with --rebuild-sums: from this day (UTC) on"
    )
    parser.add_json("what was done, or is to be done,")
    parser.set_defaults(run=run)


def _day(text: str) -> int:
    """The first millisecond of a day, since 1970."""
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a day, such as 2026-07-31") from None


def run(options: argparse.Namespace) -> None:
    """Migrate, or look. Raises CommandError."""
    if options.check and options.rebuild_sums:
        raise CommandError("--check changes nothing: without it --rebuild-sums does")
    if options.since is not None and not options.rebuild_sums:
        raise CommandError("--since is for --rebuild-sums")
    # pyarrow and the engine's client, for this command alone
    from keyrail_cost_accounting.ledger import LedgerUnavailable
    from keyrail_cost_accounting.lock import Locked
    from keyrail_cost_accounting.migrate import MigrationChanged
    from keyrail_cost_accounting.settings import LedgerSettings

    try:
        settings = LedgerSettings()
        if settings.ledger is not None:
            _do(options, settings, settings.ledger)
        else:
            found = Home(home(os.environ))  # noqa: TID251 - the CLI's one setting
            _in_home(options, settings, found)
    except (LedgerUnavailable, Locked, MigrationChanged, ValueError) as error:
        raise CommandError(f"the ledger was not migrated: {error}") from None


def _in_home(options: argparse.Namespace, settings: LedgerSettings, found: Home) -> None:
    if options.access:
        raise CommandError("the embedded ledger has no users, and no roles: --access is for a server")
    if not found.ledger.exists():
        raise CommandError(f"there is no ledger in {found.path} yet: `keyrail up` makes one")
    try:
        found.lock()
    except HomeInUse as error:
        if options.rebuild_sums:
            raise CommandError(f"{found.path} is in use: {error}. Stop it to rebuild its sums") from None
        _say(
            options,
            {"ledger": str(found.ledger), "running": True, "applied": [], "pending": [], "changed": []},
            f"{found.path} is in use: {error}. Its ledger was migrated when that started: it is up to date",
        )
        return
    try:
        _do(options, settings, str(found.ledger))
    finally:
        found.release()


def _do(options: argparse.Namespace, settings: LedgerSettings, where: str) -> None:
    from keyrail_cost_accounting.migrate import state
    from keyrail_cost_accounting.rollups import Rollups
    from keyrail_cost_accounting.schema import migrate_alone

    applied: list[str] = []
    rebuilt = None
    with closing(settings.open(where)) as ledger:
        if not options.check:
            applied = migrate_alone(
                ledger,
                settings.layout(),
                f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}",
                wait_s=options.wait,
                take_over=options.take_over,
                with_access=options.access,
            )
        found = state(ledger)
        if options.rebuild_sums and found.current:
            rebuilt = Rollups(ledger).rebuild(options.since or 0)
    _report(options, where, applied, found, rebuilt)


def _report(
    options: argparse.Namespace, where: str, applied: list[str], found: State, rebuilt: int | None
) -> None:
    said = [f"applied {name}" for name in applied]
    said += [f"pending {name}" for name in found.pending]
    said += [f"changed {name}: this ledger was made by another one" for name in found.changed]
    said += [f"later   {name}: of a release after this one" for name in found.later]
    if options.access and not options.check:
        said.append("made the roles keyrail_writer, keyrail_reader and keyrail_contents_reader")
    if rebuilt is not None:
        said.append(f"computed the sums of {rebuilt} minutes again, and of their hours and days")
    facts: render.Row = {
        "ledger": where,
        "running": False,
        "applied": applied,
        "pending": list(found.pending),
        "changed": list(found.changed),
        "later": list(found.later),
        "rebuilt_minutes": rebuilt,
    }
    _say(options, facts, "\n".join(said) or "up to date")
    if not found.current:
        raise CommandError("the ledger is not what this release needs: run `keyrail migrate`")


def _say(options: argparse.Namespace, facts: render.Row, text: str) -> None:
    print(render.as_json(facts) if options.json else text)
