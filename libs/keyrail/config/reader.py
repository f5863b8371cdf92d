"""Typed reading of a tree: each method gives the value, or notes the problem and gives None."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from keyrail.config.problems import Report, quoted
from keyrail.config.tree import Broken, Fields, Items, Node, Scalar

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,80}")
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SECRETS: Final = frozenset({"api_key", "apikey", "key", "keys", "token", "secret", "password"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A value with the place of its key."""

    line: int
    path: str
    node: Node


class Reader:
    """Reads nodes and notes problems in `report`."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def bad(self, entry: Entry, message: str) -> None:
        """Note a problem with this entry."""
        self.report.add(entry.line, entry.path, message)

    def fields(self, entry: Entry, known: Collection[str] | None = None) -> dict[str, Entry] | None:
        """The entries of a mapping, empty for an empty value. With `known`, other keys are problems."""
        if isinstance(entry.node, Scalar) and entry.node.value is None:
            return {}
        if not isinstance(entry.node, Fields):
            self._wrong_type(entry, "a mapping")
            return None
        found: dict[str, Entry] = {}
        for key, node in entry.node.pairs:
            step = key.text if _PLAIN_KEY.fullmatch(key.text) else quoted(key.text)
            path = f"{entry.path}.{step}" if entry.path else step
            if key.text in found:
                first = found[key.text].line
                self.report.add(key.line, path, f"duplicate key (it is on line {first} already)")
            elif known is not None and key.text not in known:
                self.report.add(key.line, entry.path, self._unknown_key(key.text, known))
            else:
                found[key.text] = Entry(key.line, path, node)
        return found

    def items(self, entry: Entry) -> list[Entry] | None:
        """The entries of a list."""
        if not isinstance(entry.node, Items):
            self._wrong_type(entry, "a list")
            return None
        return [Entry(node.line, f"{entry.path}[{i}]", node) for i, node in enumerate(entry.node.nodes)]

    def text(self, entry: Entry) -> str | None:
        """Text that is not empty."""
        value = entry.node.value if isinstance(entry.node, Scalar) else None
        if isinstance(value, str) and value:
            return value
        self._wrong_type(entry, "text")
        return None

    def flag(self, entry: Entry) -> bool | None:
        """`true` or `false`."""
        value = entry.node.value if isinstance(entry.node, Scalar) else None
        if isinstance(value, bool):
            return value
        self._wrong_type(entry, "true or false")
        return None

    def switch(self, entry: Entry) -> bool | None:
        """`true` or `false`, or `on` or `off`, which were the same before YAML 1.2 and are text now."""
        if isinstance(entry.node, Scalar) and entry.node.value in ("on", "off"):
            return entry.node.value == "on"
        return self.flag(entry)

    def whole(self, entry: Entry, lowest: int, highest: int) -> int | None:
        """A whole number in a range."""
        value = entry.node.value if isinstance(entry.node, Scalar) else None
        if type(value) is int and lowest <= value <= highest:
            return value
        self._wrong_type(entry, f"a whole number from {lowest} to {highest}")
        return None

    def positive(self, entry: Entry, highest: int) -> float | None:
        """A number above 0."""
        value = entry.node.value if isinstance(entry.node, Scalar) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= highest:
            return float(value)
        self._wrong_type(entry, f"a number above 0 and up to {highest}")
        return None

    def ratio(self, entry: Entry) -> float | None:
        """A number from 0 to 1."""
        value = entry.node.value if isinstance(entry.node, Scalar) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        self._wrong_type(entry, "a number from 0 to 1")
        return None

    def seconds(self, entry: Entry, highest: int) -> float | None:
        """A duration above 0 such as `300ms`, `30s`, `10m`, `1h` or `7d`; a plain number is seconds."""
        value = entry.node.value if isinstance(entry.node, Scalar) else None
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if found is not None:
            value = float(found[1]) * _UNITS[found[2]]
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= highest:
            return float(value)
        self._wrong_type(entry, f"a duration such as 300ms, 30s or 10m, above 0 and up to {highest}s")
        return None

    def _unknown_key(self, name: str, known: Collection[str]) -> str:
        if name.lower() in _SECRETS:
            return f"unknown key {quoted(name)}: provider keys go into the key store, never into this file"
        return f"unknown key {quoted(name)}{self.report.hint(name, known)}"

    def _wrong_type(self, entry: Entry, wanted: str) -> None:
        if not isinstance(entry.node, Broken):
            self.bad(entry, f"must be {wanted}, not {_kind(entry.node)}")


def _kind(node: Node) -> str:
    match node:
        case Fields():
            return "a mapping"
        case Items():
            return "a list"
        case Scalar(value=None) | Scalar(text=""):
            return "empty"
        case Scalar(value=bool() | int() | float()):
            return node.text[:40]
        case _:
            return "text"
