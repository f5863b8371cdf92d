"""How much to think, in the words that a model takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keyrail.dialects.anthropic_messages.models import Rules
from keyrail.dialects.canonical.request import Reasoning

LEAST_BUDGET = 1_024

_BUDGETS = {
    "minimal": LEAST_BUDGET,
    "low": 2_048,
    "medium": 10_000,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 32_768,
}
_USUAL_BUDGET = _BUDGETS["medium"]


@dataclass(slots=True)
class Thoughts:
    """`thinking` and `output_config.effort` of a request; None: left out. `missed`: what had to be."""

    thinking: dict[str, Any] | None = None
    effort: str | None = None
    missed: str | None = None

    @property
    def budget(self) -> int | None:
        """The tokens of thinking that were asked for by number."""
        return None if self.thinking is None else self.thinking.get("budget_tokens")

    @property
    def active(self) -> bool:
        """Whether thinking was asked for."""
        return self.thinking is not None and self.thinking["type"] in ("enabled", "adaptive")


def thoughts_of(reasoning: Reasoning | None, rules: Rules, max_tokens: int | None) -> Thoughts:
    """What to ask for. A budget is kept below `max_tokens`, which is the client's word on the cost."""
    if reasoning is None or reasoning == Reasoning():
        return Thoughts()
    if reasoning.enabled is False or reasoning.effort == "none" or reasoning.budget == 0:
        return _off(rules)
    budget = reasoning.budget if reasoning.budget is not None and reasoning.budget > 0 else None
    if rules.adaptive and not (budget is not None and rules.budget):
        return _adaptive(reasoning, budget, rules)
    if not rules.budget:
        return Thoughts(missed="reasoning")
    wanted = budget or _BUDGETS.get(reasoning.effort or "", _USUAL_BUDGET)
    room = max_tokens if max_tokens is not None else rules.most
    fitting = _fitting(max(wanted, LEAST_BUDGET), room)
    if fitting is None:
        return Thoughts(missed="reasoning")
    thinking: dict[str, Any] = {"type": "enabled", "budget_tokens": fitting}
    return Thoughts(_shown(thinking, reasoning.show, rules), _level(reasoning.effort, rules))


def _off(rules: Rules) -> Thoughts:
    if rules.off is None:  # nothing switches it off: as little as there is
        return Thoughts(effort="low", missed="reasoning")
    if not rules.adaptive and not rules.budget:
        return Thoughts()
    return Thoughts({"type": rules.off})


def _adaptive(reasoning: Reasoning, budget: int | None, rules: Rules) -> Thoughts:
    effort = reasoning.effort
    missed = None
    if budget is not None and effort is None:
        effort = next((name for name, size in _BUDGETS.items() if budget <= size), "max")
        missed = "reasoning.budget"
    return Thoughts(_shown({"type": "adaptive"}, reasoning.show, rules), _level(effort, rules), missed)


def _shown(thinking: dict[str, Any], show: bool | None, rules: Rules) -> dict[str, Any]:
    if show is not None and show is not rules.shows:
        thinking["display"] = "summarized" if show else "omitted"
    return thinking


def _level(effort: str | None, rules: Rules) -> str | None:
    """The level that the model has for this one: the next above, or its highest."""
    if effort is None or not rules.efforts:
        return None
    names = tuple(_BUDGETS)
    above = names[names.index(effort) :]
    return next((name for name in above if name in rules.efforts), rules.efforts[-1])


def _fitting(budget: int, room: int | None) -> int | None:
    if room is None or budget < room:
        return budget
    half = max(room // 2, LEAST_BUDGET)
    return half if half < room else None
