"""`keyrail keys`: provider keys. Their values go in and never come out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final, NoReturn

from keyrail.http.admin import Row, path
from keyrail.keys.base import check_value
from keyrail.keys.secret import Secret
from keyrail_cli import client, hidden, render
from keyrail_cli.commands import CommandError, Parser, name, weight

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COLUMNS: Final = ("tenant", "provider", "id", "weight", "version", "changed", "state", "reason", "until")
OPTIONAL: Final = frozenset({"reason", "until"})
NOT_AN_ARGUMENT: Final = (
    "a key's value is never an argument, where the shell's history and other users see it:"
    " pipe it in, or type it when asked. If that was a real key, rotate it at its provider"
)
ABOUT: Final = """\
The keys that you have at providers (OpenAI, Groq, ...), with which Keyrail calls them. The value of a key is
read from standard input, or asked for without showing it; nothing here ever prints one.

  keyrail keys add openai --id main < key.txt     store a key under a name of your choice
  keyrail keys rotate openai --id main            give it a new value, without a restart
  keyrail keys test openai --id main              try it with a call that costs nothing"""


class KeysParser(Parser):
    """Of a verb that takes a value, though not as an argument."""

    def surplus(self, extra: list[str]) -> NoReturn:
        """Say where the value goes instead."""
        self.error(NOT_AN_ARGUMENT)


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser(
        "keys",
        help="your keys at the providers: add, list, rotate, revoke, test",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="verb", parser_class=KeysParser)
    add = verbs.add_parser("add", help="store a key that is not there yet")
    _name(add)
    add.add_argument("--weight", type=weight, default=1, help=f"{_SHARE} (default 1)")
    add.set_defaults(run=run_add)
    rotate = verbs.add_parser("rotate", help="replace the value of a key; used within a second")
    _name(rotate)
    rotate.add_argument("--weight", type=weight, help=f"{_SHARE} (default: as it was)")
    rotate.set_defaults(run=run_rotate)
    revoke = verbs.add_parser("revoke", help="remove a key from Keyrail; at its provider it stays valid")
    _name(revoke)
    revoke.set_defaults(run=run_revoke)
    test = verbs.add_parser(
        "test", help="call the provider with a key, at no cost; if it works a key that was out comes back"
    )
    _name(test)
    test.set_defaults(run=run_test)
    shown = verbs.add_parser("list", help="all keys, or a provider's: never their values")
    shown.add_argument("provider", metavar="PROVIDER", nargs="?", type=name)
    shown.add_argument("--tenant", type=name, help="only this tenant's keys")
    shown.add_json("a list")
    shown.set_defaults(run=run_list)


_SHARE: Final = "share of the provider's traffic beside its other keys; 0 for none"


def _name(verb: Parser) -> None:
    verb.add_argument("provider", metavar="PROVIDER", type=name, help="as in `keyrail providers`")
    verb.add_argument("--id", type=name, required=True, help="the key's name, such as main")
    verb.add_argument("--tenant", type=name, default="default", help="whose key it is (default: default)")
    verb.add_json("the key's row")


def run_add(options: argparse.Namespace) -> None:
    """Store a key. Raises AdminError, CommandError, InvalidKey and NotRunning."""
    with client.connect() as admin:
        value = _value(options)
        body = {name: getattr(options, name) for name in ("tenant", "provider", "id", "weight")}
        row = admin.post("/v1/keys", {**body, "value": value.reveal()})
    _show(options, row, f"added {_called(options)}")


def run_rotate(options: argparse.Namespace) -> None:
    """Replace a value. Raises AdminError, CommandError, InvalidKey and NotRunning."""
    with client.connect() as admin:
        value = _value(options)
        body = {} if options.weight is None else {"weight": options.weight}
        row = admin.post(_path(options, "rotate"), {**body, "value": value.reveal()})
    _show(options, row, f"rotated {_called(options)}: version {render.cell(row.get('version'))}")


def run_revoke(options: argparse.Namespace) -> None:
    """Remove a key. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        row = admin.delete(_path(options))
    _show(options, row, f"revoked {_called(options)}; at its provider it is valid until you revoke it there")


def run_test(options: argparse.Namespace) -> None:
    """Try a key. Raises AdminError, NotRunning, and CommandError when it did not work."""
    with client.connect() as admin:
        tested = admin.post(_path(options, "test"), {})
    result, status = str(tested.get("result")), tested.get("status")
    said = " ".join(filter(None, (f"status {status}" if status else "", str(tested.get("detail") or ""))))
    works = result == "ok"
    if options.json:
        print(render.as_json(tested))
    if not works:
        raise CommandError(render.cell(f"{_called(options)}: {result}" + (f" ({said})" if said else "")))
    _show(options, None, f"{_called(options)} works")


def run_list(options: argparse.Namespace) -> None:
    """Print keys. Raises AdminError and NotRunning."""
    with client.connect() as admin:
        rows = [
            row
            for row in admin.rows("/v1/keys", {})
            if options.provider in (None, row["provider"]) and options.tenant in (None, row["tenant"])
        ]
    if options.json:
        print(render.as_json(rows))
        return
    print(render.table(COLUMNS, (render.with_times(row) for row in rows), OPTIONAL))


def _value(options: argparse.Namespace) -> Secret:
    value = hidden.value(f"the key's value at {options.provider} (not shown): ")
    check_value(value, 1)
    return value


def _path(options: argparse.Namespace, *verb: str) -> str:
    return path("/v1/keys", options.tenant, options.provider, options.id, *verb)


def _called(options: argparse.Namespace) -> str:
    return f"{options.tenant}/{options.provider}/{options.id}"


def _show(options: argparse.Namespace, row: Row | None, sentence: str) -> None:
    if not options.json:
        print(sentence)
    elif row is not None:
        print(render.as_json(row))
