"""What a report says, and what of it was not understood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from keyrail.contracts.reports import LineKind, ReportLine

MOST_BYTES: Final = 50 << 20
MOST_KEPT: Final = 200_000
"""Lines of one report after those of one day, key and model were added up."""
MOST_PROBLEMS: Final = 100
_SMALLEST: Final = Decimal(1).scaleb(-12)
_LONGEST: Final = 200


class NotAReport(ValueError):
    """The file is none of the reports that are known, or too large to be one."""


class Misread(ValueError):
    """A row that is not understood; the text says what is wrong with it, and repeats no value."""


class Problem(NamedTuple):
    """A row that does not count, where it is, and what is wrong with it."""

    where: str
    message: str


class Identity(NamedTuple):
    """What tells lines of a report apart."""

    day: str
    kind: LineKind
    account_key: str = ""
    model: str = ""
    line: str = ""


class Amounts(NamedTuple):
    """What a row says. None is what it does not say."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: Decimal | None = None


@dataclass(slots=True)
class Parsed:
    """A report. `rows` were looked at, `misread` of them not understood; the first of those are listed."""

    source: str
    rows: int = 0
    empty: int = 0  # rows of a day on which nothing happened
    misread: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])
    _lines: dict[Identity, Amounts] = field(default_factory=dict[Identity, Amounts])

    @property
    def lines(self) -> list[ReportLine]:
        """One for each identity, in order."""
        return [
            ReportLine(
                **identity._asdict(),
                **amounts._replace(cost_usd=_rounded(amounts.cost_usd))._asdict(),
                source=self.source,
            )
            for identity, amounts in sorted(self._lines.items())
        ]

    def add(self, identity: Identity, amounts: Amounts) -> None:
        """Add to the line of this identity. Raises NotAReport when there are too many, Misread for a name."""
        if max(map(len, identity)) > _LONGEST:
            raise Misread(f"a name is longer than {_LONGEST} characters")
        before = self._lines.get(identity)
        if before is None and len(self._lines) >= MOST_KEPT:
            raise NotAReport(f"more than {MOST_KEPT} lines by day, key and model")
        self._lines[identity] = amounts if before is None else _sum(before, amounts)

    def wrong(self, where: str, message: str) -> None:
        """Note a row that is not understood."""
        self.misread += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(where, message))


def summary(parsed: Parsed) -> Mapping[str, object]:
    """For who reads the report of the import."""
    return {
        "source": parsed.source,
        "rows": parsed.rows,
        "lines": len(parsed.lines),
        "empty": parsed.empty,
        "not_understood": parsed.misread,
        "problems": [problem._asdict() for problem in parsed.problems],
    }


def _sum(one: Amounts, other: Amounts) -> Amounts:
    """What one of them does not say is not known of both."""
    a, b = one, other
    cost = None if a.cost_usd is None or b.cost_usd is None else a.cost_usd + b.cost_usd
    return Amounts(
        _both(a.requests, b.requests),
        _both(a.input_tokens, b.input_tokens),
        _both(a.output_tokens, b.output_tokens),
        _both(a.cache_read_tokens, b.cache_read_tokens),
        _both(a.cache_write_tokens, b.cache_write_tokens),
        cost,
    )


def _both(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _rounded(cost: Decimal | None) -> Decimal | None:
    return None if cost is None else cost.quantize(_SMALLEST)
