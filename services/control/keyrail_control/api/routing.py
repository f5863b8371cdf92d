"""Routes as data: what is served, refused and described is what the table says."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import parse_qsl

from keyrail_control.errors import Invalid

B = TypeVar("B")
Method = Literal["GET", "POST", "DELETE"]
JSON: Final = "application/json"
_PARAMETER = re.compile(r"\\\{(\w+)\\\}")


@dataclass(frozen=True, slots=True)
class Call(Generic[B]):
    """What a route gets to see of a request. `path` and `query` have no more than the table names."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: B


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is not JSON."""

    body: bytes
    content_type: str


@dataclass(frozen=True)
class Route(Generic[B]):
    """One method of one path. `path` names its parameters in braces; each takes one segment.

    `serve` returns an `answer`, or a Text where `answer` is None. `open`: needs no token.
    """

    method: Method
    path: str
    summary: str
    serve: Callable[[Call[B]], Awaitable[Any]]
    body: type[B] | None = None
    answer: Any = None
    status: int = 200
    query: Mapping[str, str] | None = None  # name to description, all optional
    errors: tuple[int, ...] = ()  # beside 400, 401 and 503, which all have
    open: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the whole path must match."""
        return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", re.escape(self.path)))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The path's parameters."""
        return tuple(self.pattern.groupindex)


Routes = Sequence[Route[Any]]


@dataclass(frozen=True, slots=True)
class Match:
    """A route and the parameters that its path has here."""

    route: Route[Any]
    path: Mapping[str, str]


def find(routes: Routes, method: str, path: str) -> Match | tuple[str, ...]:
    """The route that serves this; without one, the methods that the path does have (none: no such path)."""
    allowed: list[str] = []
    for route in routes:
        if (matched := route.pattern.fullmatch(path)) is None:
            continue
        if route.method == method:
            return Match(route, matched.groupdict())
        allowed.append(route.method)
    return tuple(allowed)


def query(text: bytes, known: Mapping[str, str] | None) -> dict[str, str]:
    """The parameters. What would be ignored is refused: a misspelt filter must not widen an answer."""
    try:
        pairs = parse_qsl(text.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("the query is not UTF-8") from None
    except ValueError:
        raise Invalid("the query has too many parameters") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Invalid("a parameter is given twice")
    if found.keys() - (known or {}).keys():
        names = ", ".join(known) if known else "none"
        raise Invalid(f"unknown parameter; this path takes: {names}")
    return found
