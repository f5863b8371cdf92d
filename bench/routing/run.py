"""`make eval-routing`: measures, prints the tables, writes build/eval-routing.json, and fails below a bar."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.routing import report
from bench.routing.data import PAIR, POOL, Unusable, load
from bench.routing.proofs import decision_times, new_task, pair, pool, unseen
from bench.routing.report import Figures
from keyrail.routing.exemplars import MOST_EXEMPLARS

NEW_TASK_VERDICTS = (50, 100, 200, 400)


@dataclass(frozen=True, slots=True)
class Effort:
    """How often each measurement is made. `pairs`: shuffles, of five folds each."""

    seeds: int = 10
    pairs: int = 3
    new_tasks: int = 40
    decisions: int = 2_000
    exemplars: int = MOST_EXEMPLARS


FULL = Effort()


def evaluate(folder: Path, effort: Effort) -> Figures:
    """Everything, on the data in this folder. Raises Unusable."""
    table = load(folder, POOL, with_costs=True)
    two = load(folder, PAIR, with_costs=False)
    return Figures(
        models=table.models,
        pool=pool(table, range(effort.seeds)),
        unseen=unseen(table, range(effort.seeds)),
        pair=pair(two, range(effort.pairs)),
        new_task={n: new_task(table, n, range(effort.new_tasks)) for n in NEW_TASK_VERDICTS},
        times=decision_times(table, two.rows, effort.decisions, effort.exemplars),
    )


def main(arguments: Sequence[str] | None = None, effort: Effort = FULL) -> int:
    parser = argparse.ArgumentParser(prog="make eval-routing")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/eval-routing.json"))
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    try:
        figures = evaluate(options.data, effort)
    except Unusable as unusable:
        sys.stderr.write(f"{unusable}\n")
        return 2
    summary: dict[str, Any] = report.summary(figures)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(summary, indent=2) + "\n")
    print(report.render(figures, summary))
    print(f"\n{time.monotonic() - begin:.0f} s. Written to {options.out}.")
    missed = report.missed(summary)
    if missed:
        print("\nMissed:\n" + "\n".join(f"  {line}" for line in missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
