"""What was found: the figures that are written, the bars they are held to, and the tables. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.routing.measures import Outcome, percentile, spread
from bench.routing.proofs import Pair, Split, Times, Unseen
from bench.table import align

Summary = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything measured. `new_task` by number of verdicts: whether each run missed."""

    models: tuple[str, ...]
    pool: list[Split]
    unseen: list[Unseen]
    pair: list[Pair]
    new_task: dict[int, list[bool]]
    times: Times


@dataclass(frozen=True, slots=True)
class Bar:
    """`holds` for the figure found under `path`."""

    path: tuple[str, ...]
    says: str
    holds: Callable[[float], bool]


BARS = (
    Bar(("pool_a", "quality_ratio_mean"), "at least 0.99", lambda x: x >= 0.99),
    Bar(("pool_a", "quality_ratio_min"), "at least 0.97", lambda x: x >= 0.97),
    Bar(("pool_a", "cost_ratio_mean"), "at most 0.45", lambda x: x <= 0.45),
    Bar(("pool_a", "lift_mean"), "above 0", lambda x: x > 0),
    Bar(("unseen", "quality_diff_pt"), "at least -0.2", lambda x: x >= -0.2),
    Bar(("unseen", "cost_diff_pct"), "at most 2", lambda x: x <= 2),
    Bar(("apgr_mmlu",), "at least 0.65", lambda x: x >= 0.65),
    Bar(("new_task", "miss_200"), "at most 0.20", lambda x: x <= 0.20),
    Bar(("new_task", "miss_400"), "at most 0.10", lambda x: x <= 0.10),
    Bar(("decision_us", "plain"), "at most 1000", lambda x: x <= 1000),
    Bar(("decision_us", "neighbours"), "at most 5000", lambda x: x <= 5000),
)


def summary(figures: Figures) -> Summary:
    """What is written. Differences are router minus static choice, over all held-out prompts."""
    outcomes = [split.router for split in figures.pool]
    prompts = sum(one.prompts for one in figures.unseen)
    return {
        "pool_a": {
            "quality_ratio_mean": fmean(o.quality_ratio for o in outcomes),
            "quality_ratio_min": min(o.quality_ratio for o in outcomes),
            "cost_ratio_mean": fmean(o.cost_ratio for o in outcomes),
            "lift_mean": fmean(o.lift for o in outcomes),
        },
        "unseen": {
            "quality_diff_pt": sum(one.quality_diff_pt * one.prompts for one in figures.unseen) / prompts,
            "cost_diff_pct": sum(one.cost_diff_pct * one.prompts for one in figures.unseen) / prompts,
        },
        "apgr_mmlu": fmean(one.router for one in figures.pair),
        "new_task": {f"miss_{n}": fmean(figures.new_task[n]) for n in (200, 400)},
        "decision_us": {"plain": figures.times.plain, "neighbours": figures.times.neighbours},
    }


def missed(found: Summary) -> list[str]:
    """A line for each bar that does not hold."""
    return [
        f"{'.'.join(bar.path)} is {_at(found, bar.path):.4g}, must be {bar.says}"
        for bar in BARS
        if not bar.holds(_at(found, bar.path))
    ]


def _at(found: Summary, path: Sequence[str]) -> float:
    value: Any = found
    for name in path:
        value = value[name]
    return float(value)


def render(figures: Figures, found: Summary) -> str:
    """All of it, to read."""
    return "\n\n".join(
        (
            _pool(figures),
            _unseen(figures),
            _pair(figures),
            _new_task(figures),
            _times(figures),
            _bars(found),
        )
    )


def _pool(figures: Figures) -> str:
    head = ["against the best single model", "quality", "sd", "worst", "cost", "sd", "worst", "lift"]
    rows = [head, _outcomes("router", [split.router for split in figures.pool])]
    for name in figures.pool[0].baselines:
        rows.append(_outcomes(name, [split.baselines[name] for split in figures.pool]))
    micros = [micro for split in figures.pool for micro in split.micros]
    weights = ", ".join(f"{split.weight:.2f}" for split in figures.pool)
    return (
        f"Known tasks: {len(figures.pool)} split halves, {len(figures.models)} models, target 0.99\n"
        f"{align(rows)}\n"
        f"A decision took {fmean(micros):.0f} us of CPU ({percentile(micros, 0.99):.0f} at p99). "
        f"Weight of neighbours by seed: {weights}."
    )


def _outcomes(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    quality = spread([o.quality_ratio for o in outcomes])
    cost = spread([o.cost_ratio for o in outcomes], more_is_better=False)
    return [
        name,
        *(f"{value:.4f}" for value in (quality.mean, quality.sd, quality.worst)),
        *(f"{value:.3f}" for value in (cost.mean, cost.sd, cost.worst)),
        f"{fmean(o.lift for o in outcomes):+.4f}",
    ]


def _unseen(figures: Figures) -> str:
    rows = [["never seen", "prompts", "points", "worst", "cost %", "worst"]]
    for dataset in dict.fromkeys(one.dataset for one in figures.unseen):
        some = [one for one in figures.unseen if one.dataset == dataset]
        points = spread([one.quality_diff_pt for one in some])
        percents = spread([one.cost_diff_pct for one in some], more_is_better=False)
        values = (points.mean, points.worst, percents.mean, percents.worst)
        rows.append([dataset, str(some[0].prompts), *(f"{value:+.2f}" for value in values)])
    return f"Unknown tasks, each left out of what was taught: router minus static choice\n{align(rows)}"


def _pair(figures: Figures) -> str:
    rows = [["which prompts need the better of two models", "APGR", "sd", "worst"]]
    for name in ("router", "keywords", "length", "oracle"):
        values = spread([getattr(one, name) for one in figures.pair])
        rows.append([name, f"{values.mean:.3f}", f"{values.sd:.3f}", f"{values.worst:.3f}"])
    rows.append(["random", "0.500", "", ""])
    return f"Five folds, {len(figures.pair)} shuffles\n{align(rows)}"


def _new_task(figures: Figures) -> str:
    rows = [["verdicts for each model, one in ten wrong", "runs", "miss 97% of the best"]]
    for verdicts, misses in figures.new_task.items():
        rows.append([str(verdicts), str(len(misses)), f"{fmean(misses):.3f}"])
    return f"A task learned from nothing\n{align(rows)}"


def _times(figures: Figures) -> str:
    return (
        f"A decision between {len(figures.models)} models, CPU at p99: {figures.times.plain:.0f} us from "
        f"tallies, {figures.times.neighbours:.0f} us with {figures.times.exemplars} exemplars."
    )


def _bars(found: Summary) -> str:
    rows = [["bar", "found", "must be", ""]]
    for bar in BARS:
        value = _at(found, bar.path)
        rows.append([".".join(bar.path), f"{value:.4g}", bar.says, "" if bar.holds(value) else "MISSED"])
    return align(rows)
