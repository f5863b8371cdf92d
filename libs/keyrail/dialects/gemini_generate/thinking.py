"""How much a model is to think, in the words that the model knows."""

from __future__ import annotations

from typing import Any

from keyrail.dialects.canonical.request import Effort, Reasoning
from keyrail.dialects.gemini_generate.models import thinks_by_budget, thinks_by_level, version

_BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1_024,
    "low": 2_048,
    "medium": 10_000,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
}
_LEVELS: dict[Effort, str] = {
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_INEXACT: frozenset[Effort] = frozenset({"none", "xhigh", "max"})  # for models that are asked by level
_AUTOMATIC = -1
_DROPPED = "reasoning_effort"


def thinking_of(
    reasoning: Reasoning | None, *, model: str, max_tokens: int | None, dropped: dict[str, None]
) -> dict[str, Any]:
    """The thinkingConfig; empty where there is nothing to say. What can't be said exactly is in `dropped`."""
    if reasoning is None:
        return {}
    if thinks_by_level(model):
        config = _by_level(reasoning, model, dropped)
    elif thinks_by_budget(model):
        config = _by_budget(reasoning, model, max_tokens, dropped)
    else:
        if reasoning.enabled or reasoning.budget or reasoning.effort not in (None, "none"):
            dropped[_DROPPED] = None
        return {}
    if reasoning.show and not _off(reasoning):
        config["includeThoughts"] = True
    return config


def _off(reasoning: Reasoning) -> bool:
    return reasoning.enabled is False or reasoning.effort == "none" or reasoning.budget == 0


def _by_level(reasoning: Reasoning, model: str, dropped: dict[str, None]) -> dict[str, Any]:
    """These models always think: the least stands for not at all."""
    effort: Effort | None = "none" if _off(reasoning) else reasoning.effort
    if effort is None and reasoning.budget is not None:
        effort = _effort_of(reasoning.budget)
    if effort is None:
        return {}
    if effort in _INEXACT:
        dropped[_DROPPED] = None
    level = _LEVELS.get(effort, "minimal")
    if "-pro" in model:
        # Pro knows no minimal, and the first of them no medium.
        if level == "minimal":
            level = "low"
            dropped[_DROPPED] = None
        elif level == "medium" and version(model) == (3, 0):
            level = "high"
            dropped[_DROPPED] = None
    return {"thinkingLevel": level}


def _effort_of(budget: int) -> Effort:
    """The least effort whose budget is enough."""
    for effort in ("minimal", "low", "medium"):
        if budget <= _BUDGETS[effort]:
            return effort
    return "high"


def _by_budget(
    reasoning: Reasoning, model: str, max_tokens: int | None, dropped: dict[str, None]
) -> dict[str, Any]:
    least, most = _limits(model)
    if _off(reasoning):
        if "-pro" not in model:
            return {"thinkingBudget": 0}
        dropped[_DROPPED] = None  # the least it can do
        return {"thinkingBudget": least}
    if reasoning.budget is not None:
        budget = max(least, min(reasoning.budget, most))
        if budget != reasoning.budget:
            dropped[_DROPPED] = None
        return {"thinkingBudget": budget}
    if reasoning.effort is None:
        return {"thinkingBudget": _AUTOMATIC} if reasoning.enabled else {}
    budget = min(_BUDGETS[reasoning.effort], most)
    if max_tokens is not None:
        budget = min(budget, max_tokens // 2)  # thoughts count too: without this nothing may be left to say
    return {"thinkingBudget": max(budget, least)}


def _limits(model: str) -> tuple[int, int]:
    if "-pro" in model:
        return 128, 32_768
    return (512, 24_576) if "-lite" in model else (0, 24_576)
