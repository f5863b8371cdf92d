"""`keyrail report-keys`: the admin keys with which reports are fetched."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Final

from keyrail.keys.base import check_value
from keyrail.keys.secret import Secret
from keyrail.reconciliation.asking import BASES
from keyrail_cli import hidden, render
from keyrail_cli.keys import KeysParser

if TYPE_CHECKING:
    from keyrail.keys.report_settings import ReportKeySettings
    from keyrail_cli.commands import Commands, Parser

ABOUT: Final = """\
Admin keys read what a whole account used and paid, and mostly more than that. They are kept apart from the
keys that calls are made with, under an identity of their own that no service is given, and used by `keyrail
reconcile --fetch` alone. The value is read from standard input, or asked for without showing it.

  keyrail report-keys add openai < admin-key.txt"""


def register(commands: Commands) -> None:
    """Add the command with its verbs."""
    parser = commands.add_parser(
        "report-keys",
        help="admin keys for `keyrail reconcile --fetch`: add, list, remove",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="verb", parser_class=KeysParser)
    add = verbs.add_parser("add", help="store a provider's admin key, or replace it")
    _provider(add)
    add.add_json("what was done")
    add.set_defaults(run=run_add)
    remove = verbs.add_parser("remove", help="remove it here; at its provider it stays valid")
    _provider(remove)
    remove.add_json("what was done")
    remove.set_defaults(run=run_remove)
    shown = verbs.add_parser("list", help="providers that there is one of: never its value")
    shown.add_json("a list")
    shown.set_defaults(run=run_list)


def _provider(verb: Parser) -> None:
    verb.add_argument("provider", metavar="PROVIDER", choices=list(BASES), help=", ".join(BASES))


def run_add(options: argparse.Namespace) -> None:
    """Store a key. Raises CommandError and KeyStoreError."""
    settings = _settings()
    value = hidden.value(f"the admin key of {options.provider} (not shown): ")
    check_value(value, 1)
    asyncio.run(_add(settings, options.provider, value))
    _say(options, "stored")


def run_remove(options: argparse.Namespace) -> None:
    """Remove a key. Raises CommandError and KeyStoreError."""
    asyncio.run(_remove(_settings(), options.provider))
    _say(options, "removed")


def run_list(options: argparse.Namespace) -> None:
    """Print the providers. Raises CommandError and KeyStoreError."""
    rows: list[render.Row] = [{"provider": each} for each in asyncio.run(_providers(_settings()))]
    print(render.as_json(rows) if options.json else render.table(("provider",), rows))


def _settings() -> ReportKeySettings:
    """Raises CommandError."""
    from keyrail_cli import fetching  # costs every other command 0.2 s

    return fetching.settings()


async def _add(settings: ReportKeySettings, provider: str, value: Secret) -> None:
    from keyrail.keys import report_keys

    async with report_keys.opened(settings) as store:
        await store.put(provider, value)


async def _remove(settings: ReportKeySettings, provider: str) -> None:
    from keyrail.keys import report_keys

    async with report_keys.opened(settings) as store:
        await store.remove(provider)


async def _providers(settings: ReportKeySettings) -> list[str]:
    from keyrail.keys import report_keys

    async with report_keys.opened(settings) as store:
        return await store.providers()


def _say(options: argparse.Namespace, done: str) -> None:
    if options.json:
        print(render.as_json({"provider": options.provider, "done": done}))
    else:
        print(f"{done} the admin key of {options.provider}")
