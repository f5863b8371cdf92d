"""YAML as a tree whose nodes know their lines. A subset: no anchors, aliases or tags, one document.

Without anchors a document cannot grow when it is read, so its size bounds the work. Plain scalars are typed
as in YAML 1.2: `yes`, `on` and `1:30` are text, `010` is 10.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from keyrail.config.problems import Report

LARGEST_FILE: Final = 1024 * 1024
DEEPEST: Final = 16
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Thirteen times as fast as the parser in Python, which is the same to us where libyaml was not built in.
_LOADER: Final[Any] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; `text` is what was written."""

    line: int
    text: str
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    line: int
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping as written: keys may occur twice."""

    line: int
    pairs: tuple[tuple[Scalar, Node], ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """Stands for something that has been reported already."""

    line: int


Node = Scalar | Items | Fields | Broken


@dataclass(frozen=True, slots=True)
class _Open:
    line: int
    mapping: bool
    nodes: list[Node]


def read(text: str, report: Report) -> Node | None:
    """The document, None when there is none. Notes what the subset lacks; raises ConfigError on bad YAML."""
    if len(text) > LARGEST_FILE or len(text.encode("utf-8", "surrogatepass")) > LARGEST_FILE:
        report.add(1, "", f"the file is larger than {LARGEST_FILE} bytes")
        raise report.error()
    text = text.removeprefix("\ufeff")
    if unreadable := _UNREADABLE.search(text):
        line = text.count("\n", 0, unreadable.start()) + 1
        report.add(line, "", f"the character U+{ord(unreadable[0]):04X} is not allowed in YAML")
        raise report.error()
    try:
        return _tree(yaml.parse(text, Loader=_LOADER), report)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        report.add(mark.line + 1 if mark else 1, "", f"not valid YAML: {_explained(error)}")
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an escape such as "\U00110000"
        report.add(1, "", f"not valid YAML: {error}")
    raise report.error()


def _explained(error: yaml.MarkedYAMLError) -> str:
    if not error.problem or not error.context:
        return str(error.problem or error.context)
    begun = f" that begins on line {error.context_mark.line + 1}" if error.context_mark else ""
    return f"{error.problem} ({error.context}{begun})"


def _tree(events: Iterator[Any], report: Report) -> Node | None:
    stack = [_Open(1, False, [])]
    documents = 0
    for event in events:
        line: int = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    report.add(line, "", "a second document begins here: there can be one only")
                    raise report.error()
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                _refuse_extras(event, line, report)
                if len(stack) > DEEPEST:
                    report.add(line, "", f"nested deeper than {DEEPEST} levels")
                    raise report.error()
                stack.append(_Open(line, isinstance(event, yaml.MappingStartEvent), []))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                closed = stack.pop()
                stack[-1].nodes.append(_closed(closed, report))
            case yaml.ScalarEvent():
                _refuse_extras(event, line, report)
                stack[-1].nodes.append(_scalar(line, event.value, plain=event.implicit[0]))
            case yaml.AliasEvent():
                report.add(line, "", "aliases (*name) are not supported")
                stack[-1].nodes.append(Broken(line))
            case _:
                pass
    return stack[0].nodes[0] if stack[0].nodes else None


def _refuse_extras(event: Any, line: int, report: Report) -> None:
    if event.anchor is not None:
        report.add(line, "", "anchors (&name) are not supported")
    if event.tag is not None:
        report.add(line, "", "tags (!name) are not supported")


def _closed(container: _Open, report: Report) -> Node:
    if not container.mapping:
        return Items(container.line, tuple(container.nodes))
    pairs: list[tuple[Scalar, Node]] = []
    for key, value in zip(container.nodes[::2], container.nodes[1::2], strict=True):
        if isinstance(key, Scalar):
            pairs.append((key, value))
        elif not isinstance(key, Broken):
            report.add(key.line, "", "a key must be a single value")
    return Fields(container.line, tuple(pairs))


def _scalar(line: int, text: str, *, plain: bool) -> Scalar:
    value: str | int | float | bool | None = text
    if plain and text in _WORDS:
        value = _WORDS[text]
    elif plain and _INTEGER.fullmatch(text):
        value = int(text)
    elif plain and _NUMBER.fullmatch(text):
        value = float(text)
    return Scalar(line, text, value)
