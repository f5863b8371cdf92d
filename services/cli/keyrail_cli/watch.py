"""Shows something again and again, until Ctrl-C: over itself on a terminal, else one below the other."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from keyrail.http.admin import AdminError

HOME: Final = "\x1b[H"
LINE_END: Final = "\x1b[K\n"
"""Clears what was to the right of a line."""
BELOW: Final = "\x1b[J"


def watch(look: Callable[[], str], every_s: float, out: TextIO | None = None) -> None:
    """Show what `look` returns. Ends at Ctrl-C, without an error.

    Raises what the first look raises; after that an AdminError is shown, and looking goes on.
    """
    stream = out or sys.stdout
    try:
        shown = look()
        while True:
            _show(stream, shown)
            time.sleep(every_s)
            try:
                shown = look()
            except AdminError as error:
                shown = f"keyrail: {' '.join(str(error).split())}; trying again"
    except KeyboardInterrupt:
        if stream.isatty():
            stream.write("\n")  # the terminal's ^C has a line of its own
            stream.flush()


def _show(stream: TextIO, text: str) -> None:
    if stream.isatty():
        text = HOME + _clipped(text).replace("\n", LINE_END) + LINE_END + BELOW
    else:
        text += "\n"
    stream.write(text)
    stream.flush()


def _clipped(text: str) -> str:
    """As many lines as the terminal has room for, each on one line of it."""
    size = shutil.get_terminal_size()
    lines = [line[: size.columns] for line in text.split("\n")]
    if len(lines) < size.lines:
        return "\n".join(lines)
    room = max(1, size.lines - 2)
    return "\n".join([*lines[:room], f"and {len(lines) - room} more"])
