"""The recorded prompts: one a line, with what each model's answer scored and cost."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyrail.contracts.scores import Verdict
from keyrail.routing.text import Features, features

POOL, PAIR = "pool_a", "routellm_mmlu"
_USUAL = 0.9  # of the rows a model must have been asked in, to count at all

HOW_TO_GET = """\
No recorded answers at {folder}: {missing} not found.

The evaluation reads a folder with pool_a.jsonl.gz (three or more datasets, any models, with costs) and
routellm_mmlu.jsonl.gz (two models, with subjects). One JSON object a line:
  {{"dataset": "gsm", "subject": "...", "prompt_id": 1, "prompt": "...",
   "scores": {{"model": 0}}, "cost_usd": {{"model": 0.0012}}}}
They can be made from the published outputs of ZeroEval (GSM8K, CRUX, MATH level 5) and of RouteLLM (MMLU).
Say where they are with: make eval-routing DATA=path
"""


class Unusable(Exception):
    """The data can't be evaluated; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt. `task`: its dataset, and its subject where it has one. Costs are empty where unknown."""

    id: str
    dataset: str
    task: str
    prompt: str
    features: Features
    packed: str
    scores: dict[str, float]
    costs: dict[str, float]

    def verdict(self, task: str | None = None, scores: dict[str, float] | None = None) -> Verdict:
        """What a judge that is always right says; or these scores."""
        return Verdict(
            id=self.id,
            request_id=self.id,
            route="evaluation",
            task=task or self.task,
            scores=self.scores if scores is None else scores,
            at_ms=0,
            features=self.packed,
        )


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in which every one of these models was asked."""

    models: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(sorted({row.dataset for row in self.rows}))


def load(folder: Path, name: str, *, with_costs: bool) -> Table:
    """A file of the folder. Raises Unusable."""
    path = folder / f"{name}.jsonl.gz"
    if not path.exists():
        raise Unusable(HOW_TO_GET.format(folder=folder, missing=path.name))
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        raw: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]
    asked = [_asked(row, with_costs) for row in raw]
    seen: dict[str, int] = {}
    for models in asked:
        for model in models:
            seen[model] = seen.get(model, 0) + 1
    usual = tuple(model for model, count in seen.items() if count >= _USUAL * len(raw))
    if len(usual) < 2:
        raise Unusable(f"{path}: fewer than two models with scores{' and costs' if with_costs else ''}")
    most = max(float(row["scores"][m]) for row, ms in zip(raw, asked, strict=True) for m in ms if m in usual)
    scale = most if most > 1 else 1.0
    rows = [
        _row(f"{name}-{number}", row, usual, scale)
        for number, (row, models) in enumerate(zip(raw, asked, strict=True))
        if set(usual) <= set(models)
    ]
    return Table(usual, tuple(rows))


def _asked(row: dict[str, Any], with_costs: bool) -> list[str]:
    scores, costs = row.get("scores") or {}, row.get("cost_usd") or {}
    return [m for m in scores if scores[m] is not None and (not with_costs or costs.get(m) is not None)]


def _row(id: str, row: dict[str, Any], models: tuple[str, ...], scale: float) -> Row:
    costs = row.get("cost_usd") or {}
    subject = row.get("subject")
    dataset = str(row["dataset"])
    found = features(str(row["prompt"]))
    return Row(
        id=id,
        dataset=dataset,
        task=f"{dataset}/{subject}" if subject else dataset,
        prompt=str(row["prompt"]),
        features=found,
        packed=found.pack(),
        scores={model: float(row["scores"][model]) / scale for model in models},
        costs={model: float(costs[model]) for model in models if costs.get(model) is not None},
    )
