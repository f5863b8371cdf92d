"""What is wrong with a file, all of it, each with its line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

_LONGEST_QUOTE: Final = 80
_MOST_HINTS: Final = 50
_MOST_CHOICES: Final = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct. `line` counts from 1; `message` begins with where in the document it is."""

    line: int
    message: str


class ConfigError(Exception):
    """The file is not a valid configuration. `problems` are in the order of their lines, at least one."""

    def __init__(self, filename: str, problems: Sequence[Problem]) -> None:
        super().__init__(filename, problems)
        self.filename = filename
        self.problems = list(problems)

    def __str__(self) -> str:
        return "\n".join(f"{self.filename}:{problem.line}: {problem.message}" for problem in self.problems)


class Report:
    """Collects the problems of one file."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._problems: list[Problem] = []
        self._hints = 0

    def add(self, line: int, path: str, message: str) -> None:
        """Note a problem. `path` is empty for the document as a whole."""
        self._problems.append(Problem(line, f"{path}: {message}" if path else message))

    def hint(self, name: str, choices: Iterable[str]) -> str:
        """` (did you mean "..."?)` when a choice is near, else nothing. Hints are bounded: they cost time."""
        if len(name) > _LONGEST_QUOTE or self._hints >= _MOST_HINTS:
            return ""
        self._hints += 1
        near = difflib.get_close_matches(name, list(islice(choices, _MOST_CHOICES)), n=1)
        return f" (did you mean {quoted(near[0])}?)" if near else ""

    def raise_if_any(self) -> None:
        """Raise ConfigError with everything noted so far."""
        if self._problems:
            raise self.error()

    def error(self) -> ConfigError:
        """Everything noted so far."""
        return ConfigError(self._filename, sorted(self._problems, key=lambda problem: problem.line))


def quoted(text: str) -> str:
    """Text from the file as a message shows it: in quotes, shortened, without control characters."""
    return json.dumps(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")
