"""The benchmark: each target in turn on one mock, one table, one file of results.

make bench                                    what is installed, under 3 minutes
.venv/bin/python -m bench.run --pairs         what translation costs, in this process, about 10 s
.venv/bin/python -m bench.run --quick         direct and keyrail, about 25 s
.venv/bin/python -m bench.run --guard         what limits and budgets cost, about a minute
.venv/bin/python -m bench.run --ledger        whether the ledger takes 5,000 events/s, 1.5 minutes
.venv/bin/python -m bench.run --memory 50000  the size of each process over many requests
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from pydantic import BaseModel

from bench import guard, ledger_ingest, memory, pairs, report
from bench.children import StartError
from bench.cpu import Process, ProcessGoneError
from bench.figures import Measured
from bench.machine import look
from bench.measure import measure, steps
from bench.settings import Settings
from bench.targets import NAMES, keyrail, missing, start, upstream

RESULTS = Path(__file__).parent / "results"
OWN = ("direct", "keyrail")
QUICK = 0.3
PEERS = 0.5  # of the length of our own loads: a peer that falls behind takes long to answer what is queued


class Options(BaseModel):
    """The command line."""

    quick: bool
    only: list[str]
    memory: int | None
    pairs: bool
    guard: bool
    ledger: bool
    must_pass: bool


def parse(arguments: list[str]) -> Options:
    """Read the command line; a wrong one ends the program."""
    parser = argparse.ArgumentParser(
        prog="bench.run", description="Measure Keyrail and its peers on one machine."
    )
    parser.add_argument(
        "--quick", action="store_true", help="shorter loads, and no peers unless --only names them"
    )
    parser.add_argument("--only", help=f"targets, with commas: {','.join(NAMES)}")
    parser.add_argument("--memory", type=int, metavar="N", help="send N requests and show how processes grow")
    parser.add_argument("--pairs", action="store_true", help="only what translation between dialects costs")
    parser.add_argument(
        "--guard", action="store_true", help="only what a virtual key's limits and budgets cost"
    )
    parser.add_argument("--ledger", action="store_true", help="only how fast events get into the ledger")
    parser.add_argument(
        "--assert", action="store_true", dest="must_pass", help="exit 1 when a target is missed"
    )
    given = parser.parse_args(arguments)
    only: list[str] = given.only.split(",") if given.only else [*(OWN if given.quick else NAMES)]
    if unknown := set(only) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if given.memory is not None and given.memory < memory.SAMPLES:
        parser.error(f"--memory needs at least {memory.SAMPLES} requests")
    return Options(
        quick=given.quick,
        only=only,
        memory=given.memory,
        pairs=given.pairs,
        guard=given.guard,
        ledger=given.ledger,
        must_pass=given.must_pass,
    )


def save(kind: str, at: datetime, result: BaseModel) -> Path:
    """Write a result beside the earlier ones."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{at:%Y%m%dT%H%M%SZ}{kind}.json"
    path.write_text(result.model_dump_json(indent=2))
    return path


def one(name: str, mock: tuple[int, Process], folder: Path, settings: Settings, *, quick: bool) -> Measured:
    """Measure one target. What stops it from being measured is a problem of its figures."""
    print(f"{name} ...", flush=True)
    try:
        with start(name, *mock, folder / name, settings) as target:
            scale = QUICK if quick else 1.0 if name in OWN else PEERS
            return measure(target, steps(scale), folder)
    except (StartError, ProcessGoneError, FileNotFoundError) as failed:
        return Measured(problems=[f"could not be measured: {failed}"])


def compare(options: Options, settings: Settings, folder: Path) -> int:
    """Measure the chosen targets. Returns the exit code."""
    at = datetime.now(UTC)
    result = report.Report(time=at.isoformat(timespec="seconds"), quick=options.quick, machine=look())
    result.skipped = {name: why for name in options.only if (why := missing(name, settings)) is not None}
    if options.quick:
        result.skipped |= {name: "left out by --quick" for name in NAMES if name not in options.only}
    for name, why in result.skipped.items():
        print(f"NOT MEASURED  {name}: {why}", flush=True)
    with upstream(folder) as mock:
        for name in options.only:
            if name not in result.skipped:
                result.targets[name] = one(name, mock, folder, settings, quick=options.quick)
    if not options.quick:
        result.translation = pairs.measure()
    print(f"\n{report.render(result)}\n\n{save('', at, result)}")
    return verdict(result, must_pass=options.must_pass)


def verdict(result: report.Report, *, must_pass: bool) -> int:
    """The exit code: what could not be measured well is an error, a missed target only when it must pass."""
    if any(result.targets[name].problems for name in OWN if name in result.targets):
        return 1
    if result.translation is not None and result.translation.problems:
        return 1
    return int(must_pass and not all(check.passed for check in report.checks(result)))


def translate(options: Options) -> int:
    """Measure the pairs alone. Returns the exit code."""
    at = datetime.now(UTC)
    result = report.Report(time=at.isoformat(timespec="seconds"), quick=options.quick, machine=look())
    result.translation = pairs.measure(quick=options.quick)
    print(f"{report.render(result)}\n\n{save('-pairs', at, result)}")
    return verdict(result, must_pass=options.must_pass)


def grow(requests: int, names: list[str], settings: Settings, folder: Path) -> int:
    """Watch the memory of one target, Keyrail unless another one is named. Returns the exit code."""
    name = names[0] if len(names) == 1 else "keyrail"
    if (why := missing(name, settings)) is not None:
        print(f"NOT MEASURED  {name}: {why}")
        return 1
    with upstream(folder) as mock, start(name, *mock, folder / name, settings) as target:
        watched = memory.watch(target, requests, folder)
    print(f"\n{memory.render(watched)}\n\n{save('-memory', datetime.now(UTC), watched)}")
    for problem in watched.problems:
        print(f"!  {problem}")
    return int(bool(watched.problems))


def guarded(options: Options, folder: Path) -> int:
    """Compare a key without limits with one that has them all. Returns the exit code."""
    (folder / "keyrail").mkdir()
    with upstream(folder) as mock, keyrail(mock[0], folder / "keyrail", more_config=guard.CONFIG) as target:
        compared = guard.compare(target, folder / "keyrail" / "home", folder)
    print(f"\n{guard.render(compared)}\n\n{save('-guard', datetime.now(UTC), compared)}")
    for problem in compared.problems:
        print(f"!  {problem}")
    missed = options.must_pass and compared.added_us > guard.LIMIT_US
    return int(bool(compared.problems) or missed)


def ingest(options: Options, folder: Path) -> int:
    """Events into the ledger. Returns the exit code."""
    result = ledger_ingest.measure(folder)
    print(f"\n{ledger_ingest.render(result)}\n\n{save('-ledger', datetime.now(UTC), result)}")
    for problem in result.problems:
        print(f"!  {problem}")
    missed = options.must_pass and not ledger_ingest.keeps_up(result)
    return int(bool(result.problems) or missed)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Run what the command line says."""
    options, settings = parse(sys.argv[1:]), Settings()
    if options.pairs:
        return translate(options)
    signal.signal(signal.SIGTERM, _leave)  # so that what was started is stopped
    with tempfile.TemporaryDirectory(prefix="keyrail-bench-") as temporary:
        folder = Path(temporary)
        if options.guard:
            return guarded(options, folder)
        if options.ledger:
            return ingest(options, folder)
        if options.memory is not None:
            return grow(options.memory, options.only, settings, folder)
        return compare(options, settings, folder)


if __name__ == "__main__":
    sys.exit(main())
