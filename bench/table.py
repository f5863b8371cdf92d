"""How figures are picked from what was measured, and shown. Pure."""

from __future__ import annotations

from bench.figures import Figures, Measured

UNKNOWN = "-"


def number(value: float | None) -> str:
    """A figure with as many digits as one reads."""
    if value is None:
        return UNKNOWN
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def align(rows: list[list[str]]) -> str:
    """Rows as columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def load(measured: Measured | None, name: str) -> Figures | None:
    """A load that gave answers, or None."""
    figures = measured.loads.get(name) if measured is not None else None
    return figures if figures is not None and figures.outcome.answered else None


def rate(measured: Measured | None, name: str) -> float | None:
    """Requests a second."""
    figures = load(measured, name)
    return figures.outcome.requests_per_s if figures else None


def cpu_per_request(measured: Measured | None, name: str) -> float | None:
    """CPU microseconds of all of a target's processes for a request."""
    figures = load(measured, name)
    return sum(figures.per_request().values()) if figures else None


def cpu_per_chunk(measured: Measured | None, name: str) -> float | None:
    """CPU microseconds of all of a target's processes for a streamed event."""
    figures = load(measured, name)
    return sum(figures.per_event().values()) if figures else None
