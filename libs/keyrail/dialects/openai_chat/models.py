"""What OpenAI's own models say to reasoning and sampling, by name, wherever they are served."""

from __future__ import annotations

import re
from dataclasses import dataclass

from keyrail.dialects.canonical.request import Effort

_BUDGETS: tuple[tuple[Effort, int], ...] = (("low", 4_096), ("medium", 12_288), ("high", 24_576))
_ORDER: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Model:
    """`efforts`: those it takes, from little to much; empty: it does not reason, and says 400 when asked to.

    `thinks`: it does so unasked. `strict`: while it thinks it refuses sampling parameters.
    """

    efforts: tuple[Effort, ...]
    thinks: bool
    strict: bool = True


_MUTE = Model((), False)
_RULES: tuple[tuple[str, Model], ...] = (
    (r"(gpt-3|gpt-4|chatgpt-|gpt-5-chat|davinci|babbage)", _MUTE),
    (r"gpt-oss", Model(("low", "medium", "high"), True, strict=False)),
    (r"o\d", Model(("low", "medium", "high"), True)),
    (r"gpt-5\.\d-chat", Model(("medium",), True)),
    (r"gpt-5-pro", Model(("high",), True)),
    (r"gpt-5\.\d-pro", Model(("medium", "high", "xhigh"), True)),
    (r"gpt-5(\.1)?-codex", Model(("low", "medium", "high"), True)),
    (r"gpt-5(-|$)", Model(("minimal", "low", "medium", "high"), True)),
    (r"gpt-5\.[1-4]", Model(("none", "low", "medium", "high", "xhigh"), False)),
    (r"gpt-6-astra|gpt-6\.1-sol", Model(("low", "medium", "high", "xhigh"), True)),
    (r"gpt-([5-9])", Model(("none", "low", "medium", "high", "xhigh"), True)),
)
_PATTERNS = tuple((re.compile(pattern), model) for pattern, model in _RULES)


def known(model: str) -> Model | None:
    """The rules for this model, None when it is not one of these. A path in front is no part of the name."""
    name = model.rpartition("/")[2].lower()
    return next((rules for pattern, rules in _PATTERNS if pattern.match(name.removeprefix("ft:"))), None)


def nearest(effort: Effort, efforts: tuple[Effort, ...]) -> Effort:
    """The effort itself where the model takes it, else the one that is least far from it, rather more."""
    place = _ORDER.index(effort)
    return min(efforts, key=lambda taken: (abs(_ORDER.index(taken) - place), -_ORDER.index(taken)))


def effort_of(budget: int) -> Effort:
    """The effort that comes near a budget of thinking tokens."""
    found: Effort = "xhigh"
    for effort, most in reversed(_BUDGETS):
        if budget <= most:
            found = effort
    return found
