"""What must not be seen: from standard input when that is no terminal, else typed without an echo."""

from __future__ import annotations

import getpass
import sys
from typing import Final

from keyrail.keys.secret import Secret
from keyrail_cli.commands import CommandError

MOST_BYTES: Final = 64 * 1024


def value(prompt: str) -> Secret:
    """All that comes in, less the line's end. Raises CommandError."""
    if _terminal():
        return _typed(prompt)
    return Secret(_text(sys.stdin.buffer.read(MOST_BYTES + 1)).removesuffix("\n").removesuffix("\r"))


def line(prompt: str) -> Secret:
    """The first line. Raises CommandError when it is empty."""
    if _terminal():
        given = _typed(prompt)
    else:
        given = Secret(_text(sys.stdin.buffer.readline(MOST_BYTES + 1)).rstrip("\r\n"))
    if given == Secret(""):
        raise CommandError("nothing was given where a passphrase is needed")
    return given


def new(prompt: str) -> Secret:
    """As `line`, typed twice. Raises CommandError when it was not the same."""
    first = line(prompt)
    if _terminal() and _typed("the same again: ") != first:
        raise CommandError("that was not the same twice; nothing was done")
    return first


def _terminal() -> bool:
    if sys.stdin is None:  # closed by who started us
        raise CommandError("there is neither a terminal nor a standard input to read from")
    return sys.stdin.isatty()


def _typed(prompt: str) -> Secret:
    try:
        return Secret(getpass.getpass(prompt))
    except EOFError:
        raise CommandError("nothing was typed") from None


def _text(data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise CommandError(f"more than {MOST_BYTES} bytes on standard input")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise CommandError("standard input is not UTF-8 text") from None
