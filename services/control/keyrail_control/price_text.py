"""Sets a price in the text of keyrail.yaml and leaves all else as it is: comments, order, blank lines. Pure.

The text is edited by the places that the YAML parser names, then read again: what does not say exactly what
was wanted, no more and no less, is refused.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, cast

import yaml

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_BOM: Final = "\ufeff"
FROM: Final = "from"
UNFIT: Final = "the text of keyrail.yaml has a form that can't be edited here: change the file and apply it"


class NotEditable(ValueError):
    """The text's form does not allow it, or what is asked for makes no sense there; the text says which."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Characters from `start` to `end` become `text`."""

    start: int
    end: int
    text: str


def with_price(
    text: str, provider: str, model: str, rates: Mapping[str, Decimal], since: str | None = None
) -> str:
    """The text with this price, which replaces the one that the model has; with `since`, from then on.

    `since`: a date (UTC) or an RFC 3339 time. Raises NotEditable.
    """
    bare = text.removeprefix(_BOM)
    price = {name: format(rate, "f") for name, rate in rates.items()}
    if since is not None:
        price = {FROM: since, **price}
    try:
        root = yaml.compose(bare, Loader=yaml.SafeLoader)
        wanted = _wanted(yaml.load(bare, Loader=yaml.BaseLoader), provider, model, price)  # noqa: S506 - only text
        edited = _Editor(bare).set(root, ("providers", provider, "prices", model), price)
        found = yaml.load(edited, Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError):
        raise NotEditable(UNFIT) from None
    if found != wanted:
        raise NotEditable(UNFIT)
    return text[: len(text) - len(bare)] + edited


def instant(text: str) -> datetime:
    """A date, which begins at midnight UTC, or an RFC 3339 time. Raises NotEditable."""
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise NotEditable("from: a date such as 2026-12-01 (it begins at midnight UTC), or an RFC 3339 time")
    return at


def _wanted(document: Any, provider: str, model: str, price: Mapping[str, str]) -> Any:
    """What the edited text has to say. All leaves are texts; nothing is an empty one."""
    wanted: Any = copy.deepcopy(document) or {}
    place = wanted
    for step in ("providers", provider, "prices"):
        if not isinstance(place, dict):
            raise NotEditable(UNFIT)
        place = cast("dict[str, Any]", place)
        if place.get(step) in (None, "", "~", "null"):
            place[step] = {}
        place = place[step]
    if not isinstance(place, dict):
        raise NotEditable(UNFIT)
    known: Any = cast("dict[str, Any]", place).get(model) or None
    place[model] = _priced(known, dict(price))
    return wanted


def _priced(known: Any, price: dict[str, str]) -> Any:
    if FROM not in price:
        if isinstance(known, list):
            raise NotEditable("the prices of this model are dated: say from when on this one holds")
        return price
    if known is None:
        raise NotEditable("the model has no price here yet: set the one that holds until then first")
    entries = cast("list[Any]", known if isinstance(known, list) else [known])
    place, same = _place([each.get(FROM) for each in entries], price[FROM])
    return [*entries[:place], price, *entries[place + same :]]


def _place(known: Sequence[str | None], since: str) -> tuple[int, bool]:
    """Where among prices from these times on the new one goes, and whether it replaces the one there."""
    at = instant(since)
    times = [None if each is None else instant(each) for each in known]
    for index, each in enumerate(times):
        if each is not None and each >= at:
            return index, each == at
    return len(known), False


class _Editor:
    """Edits of one text. Nodes are those of `yaml.compose`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def set(self, root: Any, path: Sequence[str], price: Mapping[str, str]) -> str:
        """The text with `price` at `path`."""
        if root is None:
            return self._apply([self._after(self._last_line_of_text(), self._lines(path, price, 0))])
        node: Any = root
        for depth, step in enumerate(path):
            if not isinstance(node, yaml.MappingNode):
                raise NotEditable(UNFIT)
            pair = next((pair for pair in node.value if pair[0].value == step), None)
            if pair is None:
                return self._apply([self._insertion(node, path[depth:], price)])
            if _empty(pair[1]):
                return self._apply([self._filling(node, pair, path[depth + 1 :], price)])
            node = pair[1]
        return self._apply(self._replacement(node, price))

    def _apply(self, edits: Sequence[Edit]) -> str:
        text = self._text
        for edit in sorted(edits, key=lambda each: (each.start, each.end), reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        return text

    def _insertion(self, mapping: Any, path: Sequence[str], price: Mapping[str, str]) -> Edit:
        if not mapping.flow_style:
            indent = mapping.value[0][0].start_mark.column
            return self._after(_last_line(mapping), self._lines(path, price, indent))
        if not mapping.value:
            place = mapping.start_mark.index + 1
            return Edit(place, place, _nested(path, price))
        place = mapping.value[-1][1].end_mark.index
        return Edit(place, place, f", {_nested(path, price)}")

    def _filling(self, mapping: Any, pair: Any, path: Sequence[str], price: Mapping[str, str]) -> Edit:
        """Where there is a key, and nothing or `null` after it."""
        key, value = pair
        start, end = value.start_mark.index, value.end_mark.index
        if mapping.flow_style or start != end:
            inner = f"{{{_nested(path, price)}}}" if path else _flow(price)
            return Edit(start, end, inner if start != end else f" {inner}")
        if not path:
            end = key.end_mark.index + self._text[key.end_mark.index :].index(":") + 1
            return Edit(end, end, f" {_flow(price)}")
        return self._after(key.end_mark.line, self._lines(path, price, key.start_mark.column + 2))

    def _replacement(self, node: Any, price: Mapping[str, str]) -> list[Edit]:
        if isinstance(node, yaml.SequenceNode):
            return self._in_list(node, price)
        if not isinstance(node, yaml.MappingNode):
            raise NotEditable(UNFIT)
        return self._as_list(node, price) if FROM in price else self._rates(node, price)

    def _rates(self, mapping: Any, price: Mapping[str, str]) -> list[Edit]:
        """The mapping says this, and no more."""
        if mapping.flow_style or not mapping.value:
            return [Edit(mapping.start_mark.index, mapping.end_mark.index, _flow(price))]
        edits: list[Edit] = []
        for nth, (key, value) in enumerate(mapping.value):
            if not isinstance(value, yaml.ScalarNode):
                raise NotEditable(UNFIT)
            if key.value in price:
                if price[key.value] != value.value:
                    edits.append(Edit(value.start_mark.index, value.end_mark.index, price[key.value]))
            elif nth == 0:
                following = mapping.value[1][0] if len(mapping.value) > 1 else None
                if following is None:
                    raise NotEditable(UNFIT)
                edits.append(Edit(key.start_mark.index, following.start_mark.index, ""))
            else:
                edits.append(Edit(*self._span(key.start_mark.line, value.end_mark.line), ""))
        known = {key.value for key, _ in mapping.value}
        indent = " " * mapping.value[0][0].start_mark.column
        more = [f"{indent}{name}: {value}" for name, value in price.items() if name not in known]
        if more:
            edits.append(self._after(_last_line(mapping), more))
        return edits

    def _as_list(self, mapping: Any, price: Mapping[str, str]) -> list[Edit]:
        """The price that held so far, and the one that follows it."""
        start, end = mapping.start_mark.index, mapping.end_mark.index
        if mapping.flow_style:
            return [Edit(start, end, f"[{self._text[start:end]}, {_flow(price)}]")]
        first, last = mapping.start_mark.line, _last_line(mapping)
        indent = mapping.start_mark.column
        lines = self._text.splitlines(keepends=True)[first : last + 1]
        moved = ["  " + line if line.strip() else line for line in lines]
        moved[0] = moved[0][:indent] + "- " + moved[0][indent + 2 :]
        start, end = self._span(first, last)
        ended = "" if moved[-1].endswith(("\n", "\r")) else self._newline
        new = f"{' ' * indent}- {_flow(price)}{self._newline}"
        return [Edit(start, end, "".join(moved) + ended + new)]

    def _in_list(self, sequence: Any, price: Mapping[str, str]) -> list[Edit]:
        items: list[Any] = sequence.value
        if FROM not in price or not items or not all(isinstance(each, yaml.MappingNode) for each in items):
            raise NotEditable(UNFIT)
        known = [
            next((value.value for key, value in each.value if key.value == FROM), None) for each in items
        ]
        place, same = _place(known, price[FROM])
        if same:
            return self._rates(items[place], price)
        if place == 0:
            raise NotEditable("the first of a model's prices begins later than that")
        before = items[place - 1]
        if sequence.flow_style:
            return [Edit(before.end_mark.index, before.end_mark.index, f", {_flow(price)}")]
        dash = " " * sequence.start_mark.column + "- "
        return [self._after(_last_line(before), [dash + _flow(price)])]

    def _after(self, line: int, lines: Sequence[str]) -> Edit:
        """Lines after this one; -1: at the beginning."""
        _, end = self._span(0, line) if line >= 0 else (0, 0)
        ended = not end or self._text[end - 1] in "\r\n"
        text = self._newline.join(lines) + self._newline
        return Edit(end, end, text if ended else self._newline + text)

    def _span(self, first: int, last: int) -> tuple[int, int]:
        """Where these lines begin, and end with their line breaks."""
        lines = self._text.splitlines(keepends=True)
        return sum(map(len, lines[:first])), sum(map(len, lines[: last + 1]))

    def _last_line_of_text(self) -> int:
        return len(self._text.splitlines()) - 1

    def _lines(self, path: Sequence[str], price: Mapping[str, str], indent: int) -> list[str]:
        heads = [f"{' ' * (indent + 2 * depth)}{_key(step)}:" for depth, step in enumerate(path)]
        return [*heads[:-1], f"{heads[-1]} {_flow(price)}"]


def _empty(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _last_line(node: Any) -> int:
    """Where what it says ends: the parser counts blank lines and comments after it too."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last: Any = node.value[-1]
        return _last_line(last[1] if isinstance(node, yaml.MappingNode) else last)
    end = node.end_mark
    return end.line - 1 if end.column == 0 and end.line > node.start_mark.line else end.line


def _nested(path: Sequence[str], price: Mapping[str, str]) -> str:
    head, *rest = path
    return f"{_key(head)}: {{{_nested(rest, price)}}}" if rest else f"{_key(head)}: {_flow(price)}"


def _flow(price: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in price.items()) + "}"


def _key(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else json.dumps(name)
