"""`keyrail`: the command line. Each command is a module with `register` and `run`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from keyrail.http.admin import AdminError
from keyrail_cli import attempts, costs, providers, requests, up
from keyrail_cli.home import NotRunning

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands

COMMANDS: tuple[Callable[[Commands], None], ...] = (
    up.register,
    costs.register,
    requests.register,
    attempts.register,
    providers.register,
)
"""What `keyrail` can do. Each adds its parser and sets `run`, called with the arguments."""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    root = argparse.ArgumentParser(prog="keyrail", description="A self-hosted LLM gateway.")
    commands = root.add_subparsers(required=True, metavar="command")
    for register in COMMANDS:
        register(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 1 when it could not be done, 2 when it was not understood."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (AdminError, NotRunning) as error:
        print(f"keyrail: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
