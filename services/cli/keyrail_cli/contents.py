"""`keyrail contents`: prompts and answers of tenants that have them kept, encrypted to a key of their own."""

from __future__ import annotations

import argparse
import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from keyrail.http.admin import AdminClient, NotFound, Row, path
from keyrail.keys import private_files
from keyrail.keys.sealed import new_identity
from keyrail.keys.sealed_contents import Opener
from keyrail.keys.secret import Secret
from keyrail_cli import client, render
from keyrail_cli.commands import CommandError

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = (
    "started_at", "request_id", "tenant", "team", "provider", "model", "request_bytes", "answer_bytes",
    "expires_at",
)  # fmt: skip
OPTIONAL: Final = frozenset({"team"})
PARTS: Final = ("request", "answer")
LARGEST_IDENTITY: Final = 64 * 1024
PATIENCE_S: Final = 120.0
"""How long a deletion is waited for. It goes on where it was when the command is given again."""
AGAIN_S: Final = 0.5
ABOUT: Final = """\
Prompts and answers are kept only for tenants that keyrail.yaml says so of, encrypted to a public key before
they leave the worker. Who has the private half can read them; Keyrail has not.

  keyrail contents keygen --output acme.key        a pair of keys; the public one goes into keyrail.yaml
  keyrail contents show REQUEST_ID --identity acme.key
  keyrail contents delete --tenant acme --before 30d --yes"""
YAML: Final = """\
tenants:
  default:
    contents: {{recipient: {recipient}, keep: 30d}}"""


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser(
        "contents",
        help="prompts and answers that are kept: read them with your key, delete them",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="verb")
    _register_keys_and_show(verbs)
    listed = verbs.add_parser("list", help="what is kept, without what it says, oldest first")
    listed.add_argument("--tenant", help="of this tenant alone")
    listed.add_argument(
        "--since", metavar="TIME", help="30m, 1h, 7d or an RFC 3339 time; without it everything"
    )
    listed.add_json("a list")
    listed.set_defaults(run=run_list)
    delete = verbs.add_parser("delete", help="remove what is kept of a tenant, for good")
    delete.add_argument("--tenant", required=True)
    delete.add_argument(
        "--before",
        metavar="TIME",
        help="of attempts that started before it: 30d, 12h back from now, or an RFC 3339 time (default: now)",
    )
    delete.add_argument("--yes", action="store_true", help="do it without asking")
    delete.add_json("what was done")
    delete.set_defaults(run=run_delete)


def _register_keys_and_show(verbs: Commands) -> None:
    keygen = verbs.add_parser("keygen", help="make a pair of keys; needs no stack")
    keygen.add_argument(
        "--output", metavar="FILE", type=Path, required=True, help="a new file for the private half"
    )
    keygen.add_json("file and recipient")
    keygen.set_defaults(run=run_keygen)
    show = verbs.add_parser("show", help="decrypt, on this machine, what a request asked and was answered")
    show.add_argument("id", metavar="REQUEST_ID", help="from the answer's x-keyrail-request-id header")
    show.add_argument(
        "--identity", metavar="FILE", type=Path, required=True, help="the private half; it stays here"
    )
    show.add_json("a list of attempts")
    show.set_defaults(run=run_show)


def run_keygen(options: argparse.Namespace) -> None:
    """Write a private identity. Raises CommandError."""
    identity, recipient = new_identity()
    text = f"# public key: {recipient}\n{identity.reveal()}\n"
    try:
        private_files.write_new(options.output, text.encode())
    except FileExistsError:
        raise CommandError(f"{options.output} exists; a private key is written to a new file") from None
    except OSError as error:
        raise CommandError(f"{options.output}: {error.strerror or error}") from None
    yaml = YAML.format(recipient=recipient)
    if options.json:
        print(render.as_json({"file": str(options.output), "recipient": recipient, "yaml": yaml}))
        return
    print(
        f"wrote {options.output}: whoever has this file can read what is kept, and without it nobody can."
        f"\nBack it up, and keep it off the gateway. In keyrail.yaml:\n\n{yaml}"
    )


def run_list(options: argparse.Namespace) -> None:
    """Print what is kept. Raises AdminError and NotRunning."""
    asked = {name: getattr(options, name) for name in ("tenant", "since") if getattr(options, name)}
    with client.connect() as admin:
        rows = list(admin.rows("/v1/contents", asked))
    print(render.as_json(rows) if options.json else render.table(COLUMNS, rows, OPTIONAL))


def run_show(options: argparse.Namespace) -> None:
    """Fetch, decrypt, print. Raises CommandError, NotFound, AdminError and NotRunning."""
    opener = _opener(options.identity)
    with client.connect() as admin:
        rows = list(admin.rows("/v1/contents", {"request": options.id}))
        if not rows:
            raise NotFound("nothing is kept of this request")
        shown = [_opened(admin, opener, row) for row in rows]
    if options.json:
        print(render.as_json(shown))
        return
    for row in shown:
        print(f"attempt {render.cell(row['attempt_id'])}: ", end="")
        print(f"{render.cell(row['provider'])}/{render.cell(row['model'])}, {render.cell(row['dialect'])}")
        for part in PARTS:
            print(f"\n{part}, {row[f'{part}_bytes']} bytes:")
            print(_printable(row[part]))
        print()


def run_delete(options: argparse.Namespace) -> None:
    """Delete, until it is verified. Raises CommandError, AdminError and NotRunning."""
    what = f"contents of {options.tenant} before {options.before or 'now'}"
    if not options.yes and not _confirmed(what):
        raise CommandError("nothing was deleted")
    asked: Row = {"tenant": options.tenant}
    if options.before:
        asked["before"] = options.before
    deleted, give_up = 0, time.monotonic() + PATIENCE_S
    with client.connect() as admin:
        while True:
            told = admin.post("/v1/contents/deletions", asked)
            deleted += cast("int", told["deleted"])
            if told["cursor"] is None:
                break
            if time.monotonic() > give_up:
                raise CommandError(
                    f"not finished: {deleted} deleted, {told['left']} left, {told['waiting']} on their way;"
                    f" give the command again with --before {told['before']}"
                )
            asked |= {"before": told["before"], "cursor": told["cursor"]}
            time.sleep(AGAIN_S)
    if options.json:
        print(
            render.as_json(
                {"tenant": told["tenant"], "before": told["before"], "deleted": deleted, "left": 0}
            )
        )
    else:
        print(f"deleted {deleted} contents of {options.tenant} before {told['before']}; none is left")


def _confirmed(what: str) -> bool:
    try:
        return input(f"delete all {what}, for good? [yes/no] ").strip().lower() == "yes"
    except EOFError:
        raise CommandError("nothing was deleted: --yes does it without asking") from None


def _opener(file: Path) -> Opener:
    try:
        text = private_files.contents(file, LARGEST_IDENTITY)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror or error}") from None
    try:
        return Opener(Secret((text or b"").decode("utf-8", "replace")))
    except ValueError:
        raise CommandError(f"{file} is not an age identity file") from None


def _opened(admin: AdminClient, opener: Opener, row: Row) -> Row:
    """The row with the texts of its parts; null: it was too large to be kept."""
    return row | {part: _text(admin, opener, row, part) for part in PARTS}


def _text(admin: AdminClient, opener: Opener, row: Row, part: str) -> object:
    if not row[f"has_{part}"]:
        return None
    base = path("/v1/contents", str(row["request_id"]), str(row["attempt_id"]), part)
    sealed, offset = bytearray(), 0
    while True:
        piece = admin.get(base, {"offset": str(offset)})
        sealed += base64.b64decode(str(piece["data"]))
        if piece["next"] is None:
            break
        offset = cast("int", piece["next"])
    try:
        text = opener.open(bytes(sealed), cast("int", row[f"{part}_bytes"]))
    except ValueError as error:
        raise CommandError(
            f"the {part} of attempt {row['attempt_id']} {error}; it was written for {row['recipient']}"
        ) from None
    try:
        return text.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(text).decode()}


def _printable(text: object) -> str:
    """Lines as they are; what could move a terminal's cursor is shown as unknown."""
    if text is None:
        return "(too large: not kept)"
    if not isinstance(text, str):
        return render.as_json(text)
    return "\n".join(render.cell(line.replace("\t", "    ")) for line in text.split("\n"))
