import gzip
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.routing import report
from bench.routing.data import PAIR, POOL, Row, load
from bench.routing.measures import apgr, hull, mixed, outcome
from bench.routing.proofs import pool
from bench.routing.router import Router
from bench.routing.run import Effort, evaluate, main
from keyrail.routing.text import Features

RECORDED = Path(__file__).parents[3] / "../shared/data/routing"
QUICK = Effort(seeds=1, pairs=1, new_tasks=2, decisions=50, exemplars=300)
TIMES = ("decision_us.plain", "decision_us.neighbours")
PRICES = {"big": 0.01, "small": 0.0005, "tiny": 0.0001}
WORDS = {
    "sums": "add count total apples each",
    "code": "def list return loop index",
    "law": "court tax claim",
}
ABLE = {
    "sums": {"big": 0.85, "small": 0.92, "tiny": 0.3},
    "code": {"big": 0.75, "small": 0.82, "tiny": 0.3},
    "law": {"big": 0.95, "small": 0.4, "tiny": 0.3},
}
"""How often each model is right: the small one does better on two of three, big does on all of them."""


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def made(folder: Path, able: dict[str, dict[str, float]]) -> Path:
    """A folder in the form of the recorded one."""
    draw = random.Random(7)
    rows: list[dict[str, Any]] = []
    pair: list[dict[str, Any]] = []
    for number in range(1_260):
        dataset = list(able)[number % 3]
        prompt = " ".join(draw.choices(WORDS[dataset].split(), k=8))
        scores = {model: int(draw.random() < p) for model, p in able[dataset].items()}
        row = {"prompt_id": number, "prompt": prompt, "input_chars": len(prompt), "output_chars": None}
        rows.append({**row, "dataset": dataset, "scores": scores, "cost_usd": PRICES})
        two = {model: scores[model] for model in ("big", "small")}
        pair.append({**row, "dataset": "exam", "subject": dataset, "scores": two, "cost_usd": PRICES})
    written(folder, POOL, rows)
    written(folder, PAIR, pair)
    return folder


def test_it_measures_another_folder_of_the_same_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "build" / "found.json"
    code = main(["--data", str(made(tmp_path, ABLE)), "--out", str(out)], QUICK)
    found = json.loads(out.read_text())
    shape = {name: sorted(value) if isinstance(value, dict) else None for name, value in found.items()}
    assert shape == {
        "pool_a": ["cost_ratio_mean", "lift_mean", "quality_ratio_mean", "quality_ratio_min"],
        "unseen": ["cost_diff_pct", "quality_diff_pt"],
        "apgr_mmlu": None,
        "new_task": ["miss_200", "miss_400"],
        "decision_us": ["neighbours", "plain"],
    }
    missed = report.missed(found)
    assert [line for line in missed if not line.startswith(TIMES)] == []
    assert code == bool(missed)
    assert 0.3 < found["pool_a"]["cost_ratio_mean"] < 0.45
    said = capsys.readouterr().out
    for name in ("best single", "cheapest single", "static mix", "oracle", "keyword tiers", "prompt length"):
        assert name in said


def test_the_same_data_give_the_same_figures_apart_from_times(tmp_path: Path) -> None:
    folder = made(tmp_path, ABLE)
    once, again = (report.summary(evaluate(folder, QUICK)) for _ in range(2))
    del once["decision_us"], again["decision_us"]
    assert once == again


def test_it_fails_where_there_is_nothing_to_save(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    able = {dataset: {"big": 0.9, "small": 0.3, "tiny": 0.2} for dataset in ABLE}
    assert main(["--data", str(made(tmp_path, able)), "--out", str(tmp_path / "x.json")], QUICK) == 1
    assert "pool_a.cost_ratio_mean is 1, must be at most 0.45" in capsys.readouterr().out


def test_without_data_it_says_where_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "x.json")]) == 2
    assert "DATA=path" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


def test_data_that_cannot_be_used_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, POOL, [{"dataset": "a", "prompt": "x", "scores": {"m": 1}, "cost_usd": {"m": None}}])
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "x.json")]) == 2
    assert "fewer than two models" in capsys.readouterr().err


def test_a_model_that_was_hardly_asked_is_left_out_and_a_row_without_another_too(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"dataset": "a", "prompt": "x", "scores": {"m": 10, "n": 5}, "cost_usd": {"m": 1, "n": 2}}
        for _ in range(20)
    ]
    rows[0]["scores"]["rare"], rows[0]["cost_usd"]["rare"] = 1, 1
    rows[1]["scores"]["n"] = None
    written(tmp_path, POOL, rows)
    table = load(tmp_path, POOL, with_costs=True)
    assert table.models == ("m", "n")
    assert len(table.rows) == 19
    assert table.rows[0].scores == {"m": 1.0, "n": 0.5}


def row(id: str, **scores: float) -> Row:
    return Row(id, "d", "d", "p", Features((), ()), "", scores, dict.fromkeys(scores, 1.0))


def test_the_hull_leaves_out_what_a_mix_of_others_beats() -> None:
    points = [(1.0, 0.5), (2.0, 0.6), (3.0, 0.9), (4.0, 0.8), (5.0, 1.0)]
    assert hull(points) == [(1.0, 0.5), (3.0, 0.9), (5.0, 1.0)]
    assert mixed(points, 2.0) == pytest.approx(0.7)
    assert (mixed(points, 0.5), mixed(points, 9.0)) == (0.5, 1.0)


def test_an_outcome_is_measured_against_the_best_single_model_of_the_same_rows() -> None:
    rows = [row("1", a=1.0, b=1.0), row("2", a=1.0, b=0.0)]
    rows = [replace(r, costs={"a": 2.0, "b": 1.0}) for r in rows]
    found = outcome(rows, ("a", "b"), ["b", "a"])
    assert (found.quality_ratio, found.cost_ratio) == (1.0, 0.75)
    assert found.lift == pytest.approx(1.0 - 0.75)


def test_knowing_nothing_recovers_half_the_gap_and_knowing_all_the_most() -> None:
    rows = [row(str(n), s=1.0, w=float(n % 2)) for n in range(10)]
    assert apgr(rows, "s", "w", [0.0] * 10) == pytest.approx(0.5)
    assert apgr(rows, "s", "w", [1.0 - n % 2 for n in range(10)]) == pytest.approx(0.75)
    assert apgr(rows, "s", "w", [float(n % 2) for n in range(10)]) == pytest.approx(0.25)


def test_nothing_of_the_test_half_reaches_a_decision(tmp_path: Path) -> None:
    table = load(made(tmp_path, ABLE), POOL, with_costs=True)
    tune, test = table.rows[:630], table.rows[630:]
    blind = [replace(r, scores=dict.fromkeys(r.scores, 0.0), costs={}) for r in test]
    assert Router(tune, table.models).decide(test).targets == Router(tune, table.models).decide(blind).targets


@pytest.mark.skipif(not (RECORDED / f"{POOL}.jsonl.gz").exists(), reason="no recorded answers here")
def test_recorded_answers_keep_their_quality_for_less_than_half_the_money() -> None:
    table = load(RECORDED, POOL, with_costs=True)
    splits = [split.router for split in pool(table, range(2), {})]
    assert min(split.quality_ratio for split in splits) >= 0.97
    assert sum(split.cost_ratio for split in splits) / 2 <= 0.45
    assert min(split.lift for split in splits) > 0
