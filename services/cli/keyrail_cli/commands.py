"""What commands are built from: the parser, and the error of one that could not be done."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from keyrail.keys.base import HIGHEST_WEIGHT, NAME

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]  # pyright: ignore[reportPrivateUsage]

_QUOTED: Final = re.compile(r"(invalid choice|ignored explicit argument):? ('.*?'|\".*?\")", re.DOTALL)
_OPTION: Final = re.compile(r"(--[a-z][a-z-]{0,20})(=.*)?", re.DOTALL)
_COUNT: Final = re.compile(r"([1-9]\d{0,11})([kM]?)")
_FACTOR: Final = {"": 1, "k": 1_000, "M": 1_000_000}


class CommandError(Exception):
    """It could not be done; the text is one line that says why."""


class Problems(CommandError):
    """It could not be done for several reasons, a line each, as compilers write them."""


class Parser(argparse.ArgumentParser):
    """Takes options in full only, and repeats no argument in a message: a key may be in the wrong place."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Say what was not understood, and leave with status 2."""
        super().error(_QUOTED.sub(r"\1", message))

    def add_json(self, shows: str) -> None:
        """The option that all commands take."""
        self.add_argument("--json", action="store_true", help=f"print {shows} as JSON, for programs")

    def parse_known_args(self, *given: Any, **more: Any) -> Any:
        """As ever, but every verb looks after what it does not know."""
        options, extra = super().parse_known_args(*given, **more)
        if extra:
            self.surplus(extra)
        return options, extra

    def surplus(self, extra: list[str]) -> NoReturn:
        """Refuse arguments that nobody asked for."""
        options = [found[1] for each in extra if (found := _OPTION.fullmatch(each))]
        self.error(f"unknown option {', '.join(options)}" if options else "more arguments than it takes")


def name(text: str) -> str:
    """A tenant, a provider or the id of a key."""
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            "must be 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or a digit"
        )
    return text


def weight(text: str) -> int:
    """How much of the traffic a key takes beside the others."""
    if not (text.isascii() and text.isdecimal() and int(text[:9]) <= HIGHEST_WEIGHT and len(text) < 9):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {HIGHEST_WEIGHT}")
    return int(text)


def count(text: str) -> int:
    """A limit: `60`, `200k`, `2M`."""
    found = _COUNT.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("must be a whole number above 0, such as 60, 200k or 2M")
    return int(found[1]) * _FACTOR[found[2]]


def several(texts: list[str]) -> list[str]:
    """The items of an option that may be repeated and takes several with commas between; each once."""
    return list(dict.fromkeys(item.strip() for text in texts for item in text.split(",") if item.strip()))
