"""`keyrail up`: the embedded stack, in a process image of its own so that the CLI stays light."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyrail_cli.commands import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("up", help="run the whole gateway on this machine, in the foreground")
    parser.add_argument(
        "--scale",
        action="append",
        default=[],
        metavar="SERVICE=N",
        help="run N instances of ingress, router, racer or provider-worker; may be repeated",
    )
    parser.add_json("each line that is said")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Become `python -m keyrail_embedded`."""
    more = [f"--scale={item}" for item in options.scale] + (["--json"] if options.json else [])
    os.execv(sys.executable, [sys.executable, "-m", "keyrail_embedded", *more])  # noqa: S606
