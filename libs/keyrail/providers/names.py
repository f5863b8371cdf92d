"""Whose a bare model name is, so that `gpt-5.4` needs no `openai/` in front."""

from __future__ import annotations

import re
from functools import cache

from keyrail.providers import registry

NOT_BUILT_IN: dict[str, tuple[str, ...]] = {
    "deepseek": (r"deepseek-(chat|reasoner|v\d)",),
    "cohere": (r"command-", r"c4ai-"),
    "perplexity": (r"sonar(-|$)",),
}
"""Patterns for providers without a module here: a request for their models names what is missing."""


def owner(model: str) -> str | None:
    """The provider that a model name without `provider/` belongs to, None when several or none serve it."""
    return next((name for name, pattern in _patterns() if pattern.match(model)), None)


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    built_in = {name: provider.owns for name, provider in registry.load().items() if provider.owns}
    everything = {**NOT_BUILT_IN, **built_in}
    return tuple((name, re.compile("|".join(patterns))) for name, patterns in everything.items())
