"""`keyrail`: the command line. Each command is a module with `register` and `run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from keyrail.http.admin import AdminError
from keyrail.keys.base import KeyStoreError
from keyrail_cli import (
    alerts,
    attempts,
    budgets,
    cache,
    config,
    contents,
    costs,
    keys,
    keystore,
    migrate,
    prices,
    providers,
    reconcile,
    report_keys,
    reprice,
    requests,
    routes,
    tokens,
    up,
    verdicts,
    whatif,
)
from keyrail_cli.commands import CommandError, Parser, Problems
from keyrail_cli.home import NotRunning

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COMMANDS: tuple[Callable[[Commands], None], ...] = (
    up.register,
    config.register,
    providers.register,
    keys.register,
    keystore.register,
    tokens.register,
    budgets.register,
    cache.register,
    alerts.register,
    costs.register,
    reconcile.register,
    report_keys.register,
    attempts.register,
    requests.register,
    routes.register,
    verdicts.register,
    prices.register,
    reprice.register,
    whatif.register,
    migrate.register,
    contents.register,
)
"""What `keyrail` can do. Each adds its parser and sets `run`, called with the arguments."""


ABOUT: Final = """\
A self-hosted LLM gateway. `keyrail up` runs it on this machine; every other command asks the one that runs
in $KEYRAIL_HOME (default: .keyrail in this folder), or works on its files. All take --json.
`keyrail COMMAND --help` says more."""


def parser() -> Parser:
    """The parser of the whole command line."""
    root = Parser(prog="keyrail", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = root.add_subparsers(required=True, metavar="command")
    for register in COMMANDS:
        register(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 1 when it could not be done, 2 when it was not
    understood."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except Problems as problems:
        print(problems, file=sys.stderr)
        return 1
    except (AdminError, CommandError, KeyStoreError, NotRunning) as error:
        print(f"keyrail: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the terminal's ^C has a line of its own
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
