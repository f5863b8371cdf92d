"""The report: a table to read, targets to pass or fail. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from bench import pairs, reference
from bench.figures import Measured
from bench.latency import added
from bench.machine import Machine
from bench.table import UNKNOWN, align, cpu_per_chunk, cpu_per_request, load, number, rate


class Check(BaseModel):
    """One target. `value` None: not measured, which is no pass."""

    name: str
    limit: float
    at_least: bool = False
    value: float | None

    @property
    def passed(self) -> bool:
        """Whether the value is known and within the limit."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        """The check as a line."""
        sign = ">=" if self.at_least else "<="
        shown = UNKNOWN if self.value is None else number(self.value)
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {shown} ({sign} {number(self.limit)})"


class Report(BaseModel):
    """One run of the benchmark."""

    time: str
    quick: bool
    machine: Machine
    targets: dict[str, Measured] = {}
    skipped: dict[str, str] = {}
    translation: pairs.Pairs | None = None


def _chunks(measured: Measured) -> float | None:
    figures = load(measured, "burst")
    return figures.outcome.events_per_s if figures else None


def _latency(measured: Measured | None, share: str) -> float | None:
    figures = load(measured, "open")
    return getattr(figures.outcome.latency_ms, share) if figures else None


def _first(measured: Measured | None, share: str) -> float | None:
    figures = load(measured, "paced")
    return getattr(figures.outcome.first_byte_ms, share) if figures else None


def _generator(measured: Measured) -> tuple[float | None, float | None]:
    """The generator's own CPU microseconds a request (64 connections) and an event (burst)."""
    single, burst = load(measured, "c64"), load(measured, "burst")
    return (
        single.outcome.cpu_us / single.outcome.answered if single else None,
        burst.outcome.cpu_us / max(burst.outcome.events, 1) if burst else None,
    )


def comparison(targets: dict[str, Measured]) -> str:
    """The targets side by side. `added` is against `direct`; for direct itself it is left out."""
    direct = targets.get("direct")

    def row(label: str, values: Iterable[float | None]) -> list[str]:
        return [label, *(number(value) for value in values)]

    def added_row(label: str, values: list[float | None], base: float | None) -> list[str]:
        cells = [
            "" if name == "direct" else number(added(value, base))
            for name, value in zip(targets, values, strict=True)
        ]
        return [label, *cells]

    all_of = list(targets.values())
    rows = [["", *targets]]
    rows += [
        row(f"requests/s, {c} connections", (rate(m, f"c{c}") for m in all_of)) for c in (1, 16, 64, 256)
    ]
    for share in ("p50", "p99"):
        values = [_latency(m, share) for m in all_of]
        rows += [
            row(f"100 requests/s: {share} ms", values),
            added_row("  added ms", values, _latency(direct, share)),
        ]
    for share in ("p50", "p99"):
        values = [_first(m, share) for m in all_of]
        rows += [
            row(f"stream, first byte: {share} ms", values),
            added_row("  added ms", values, _first(direct, share)),
        ]
    rows += [
        row("chunks/s, 16 streams in a burst", (_chunks(m) for m in all_of)),
        row("CPU us/request, 64 connections", (cpu_per_request(m, "c64") for m in all_of)),
        row("CPU us/request, 100 requests/s", (cpu_per_request(m, "open") for m in all_of)),
        row("CPU us/chunk, burst", (cpu_per_chunk(m, "burst") for m in all_of)),
        row("CPU us/chunk, every 20 ms", (cpu_per_chunk(m, "paced") for m in all_of)),
        row("idle, CPU ms a second", (sum(m.idle_us_per_s.values()) / 1e3 for m in all_of)),
        row("memory before, MB", (sum(m.pss_before.values()) / 1e6 for m in all_of)),
        row("memory after, MB", (sum(m.pss_after.values()) / 1e6 for m in all_of)),
    ]
    return align(rows)


def processes(targets: dict[str, Measured]) -> str:
    """What each service of each target cost."""
    rows = [
        [
            "process",
            "us/request c64",
            "us/request 100/s",
            "us/chunk burst",
            "us/chunk paced",
            "MB before",
            "MB after",
        ]
    ]
    for target, measured in targets.items():
        for service in measured.pss_before:
            rows.append([f"{'upstream' if target == 'direct' else target} {service}"])
            for name, per_event in (("c64", False), ("open", False), ("burst", True), ("paced", True)):
                figures = load(measured, name)
                costs = (figures.per_event() if per_event else figures.per_request()) if figures else {}
                rows[-1].append(number(costs.get(service)))
            sizes = (measured.pss_before.get(service), measured.pss_after.get(service))
            rows[-1] += [number(None if size is None else size / 1e6) for size in sizes]
    return align(rows)


def ceilings(direct: Measured) -> str:
    """What generator and mock could do with a core each: a target that does much less is not held up."""
    request, event = _generator(direct)
    mock_request, mock_event = cpu_per_request(direct, "c64"), cpu_per_chunk(direct, "burst")
    rows = [["ceiling on one core", "us/request", "requests/s", "us/chunk", "chunks/s"]]
    for name, per_request, per_event in (("generator", request, event), ("mock", mock_request, mock_event)):
        rows.append(
            [
                name,
                number(per_request),
                number(1e6 / per_request if per_request else None),
                number(per_event),
                number(1e6 / per_event if per_event else None),
            ]
        )
    return align(rows)


def checks(report: Report) -> list[Check]:
    """The targets that Keyrail has set itself. Empty when nothing of it was measured."""
    own = [] if report.translation is None else _translation(report.translation)
    return [*_gateway(report.targets), *own]


def _translation(measured: pairs.Pairs) -> list[Check]:
    request, chunk = pairs.dearest(measured.pairs)
    return [
        Check(
            name="translation, us/request over pass-through, dearest pair",
            limit=pairs.REQUEST_LIMIT_US,
            value=request,
        ),
        Check(
            name="translation, us/chunk over pass-through, dearest pair",
            limit=pairs.CHUNK_LIMIT_US,
            value=chunk,
        ),
    ]


def _gateway(targets: dict[str, Measured]) -> list[Check]:
    keyrail, direct = targets.get("keyrail"), targets.get("direct")
    if keyrail is None:
        return []
    own = [
        Check(
            name="CPU us/request, all processes, 64 connections",
            limit=800,
            value=cpu_per_request(keyrail, "c64"),
        )
    ]
    own.append(Check(name="CPU us/chunk in a burst", limit=15, value=cpu_per_chunk(keyrail, "burst")))
    own.append(
        Check(name="requests/s, 64 connections", limit=1_500, at_least=True, value=rate(keyrail, "c64"))
    )
    extra = added(_latency(keyrail, "p50"), _latency(direct, "p50"))
    own.append(Check(name="added p50 ms, 100 requests/s", limit=3, value=extra))
    return own


def render(report: Report) -> str:
    """The whole report as text."""
    machine = report.machine
    parts = [
        f"{report.time}  {machine.cpu}, {machine.cores} cores, "
        f"Linux {machine.kernel}, Python {machine.python}\n"
        f"loopback send and receive {number(machine.loopback_us)} us, "
        f"one addition in Python {number(machine.python_ns)} ns"
    ]
    if report.targets:
        parts += [comparison(report.targets), processes(report.targets)]
    if "direct" in report.targets:
        parts.append(ceilings(report.targets["direct"]))
    if report.translation is not None:
        parts.append(pairs.render(report.translation))
    if (estimates := reference.render(report.targets)) is not None:
        parts.append(estimates)
    if report.skipped:
        parts.append("\n".join(f"NOT MEASURED  {name}: {why}" for name, why in report.skipped.items()))
    problems = [
        f"!  {name} {problem}" for name, measured in report.targets.items() for problem in measured.problems
    ]
    if problems:
        parts.append("\n".join(problems))
    if lines := [check.line() for check in checks(report)]:
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
