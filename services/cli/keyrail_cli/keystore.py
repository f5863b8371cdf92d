"""`keyrail keystore`: the private identity that opens the embedded keystore, backed up and restored."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keyrail.keys import backup
from keyrail.keys.backup import Restored
from keyrail_cli import hidden, render
from keyrail_cli.commands import CommandError
from keyrail_cli.home import home
from keyrail_embedded.home import Home, HomeInUse

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

ABOUT: Final = """\
Provider keys in the home are encrypted files in keystore/. What opens them is the identity, identity.key:
without it they are lost. A backup holds the identity, under a passphrase of yours; keep it apart from copies
of keystore/. `age --decrypt` opens it too.

The passphrase is asked for, or is the first line of standard input."""


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser(
        "keystore",
        help="back up and restore what opens the stored provider keys",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    save = verbs.add_parser("backup", help="write the identity to a new file, under a passphrase")
    save.add_argument("file", metavar="FILE", type=Path)
    save.add_json("what was written")
    save.set_defaults(run=run_backup)
    restore = verbs.add_parser("restore", help="put the identity of a backup into a home that is not running")
    restore.add_argument("file", metavar="FILE", type=Path)
    restore.add_argument("--force", action="store_true", help="replace another identity; that one is kept")
    restore.add_json("what was done")
    restore.set_defaults(run=run_restore)


def run_backup(options: argparse.Namespace) -> None:
    """Write a backup. Raises CommandError and KeyStoreError."""
    identity_file = _home().identity
    if not identity_file.exists():
        raise CommandError(
            f"{identity_file} is not there: this home has no keystore (KEYRAIL_HOME says which)"
        )
    if os.path.lexists(options.file):
        raise CommandError(f"{options.file} exists; a backup is written to a new file")
    passphrase = hidden.new("a passphrase for the backup: ")
    recipient = backup.write(identity_file, options.file, passphrase)
    if options.json:
        print(render.as_json({"file": str(options.file), "recipient": recipient}))
    else:
        print(f"wrote {options.file}: the identity of {recipient}\nwithout the passphrase nobody can open it")


def run_restore(options: argparse.Namespace) -> None:
    """Put an identity back. Raises CommandError and KeyStoreError."""
    found = _home()
    try:
        found.lock()
    except HomeInUse as error:
        raise CommandError(f"{found.path} is in use: {error}; stop that first") from None
    try:
        text = backup.opened(options.file, hidden.line("the backup's passphrase: "))
        done = backup.restore(text, found.keystore, found.identity, force=options.force)
        done = asyncio.run(backup.counted(done, found.keystore, found.identity))
    finally:
        found.release()
    print(render.as_json(_facts(found, done)) if options.json else "\n".join(_sentences(found, done)))


def _home() -> Home:
    return Home(home(os.environ))  # noqa: TID251 - the CLI's one setting


def _facts(found: Home, done: Restored) -> render.Row:
    return {
        "identity": str(found.identity),
        "recipient": done.recipient,
        "changed": done.changed,
        "kept": str(done.kept) if done.kept else None,
        "readable_keys": done.readable,
        "unreadable_keys": [str(name) for name in done.damaged],
    }


def _sentences(found: Home, done: Restored) -> list[str]:
    said = [
        f"restored {found.identity}"
        if done.changed
        else f"{found.identity} is this identity already: nothing was changed"
    ]
    if done.kept:
        said.append(f"the identity that was there is kept in {done.kept}")
    said.append(f"it opens {done.readable} keys in {found.keystore}")
    if done.damaged:
        said.append(f"it does not open {', '.join(map(str, done.damaged))}")
    return said
