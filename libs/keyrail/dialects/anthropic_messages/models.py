"""What differs between Anthropic's models, as a table of patterns. The first that fits a name counts.

Checked against the documentation and profiles of November 2026. A new model that is like its elders needs no
row: the last one for its family is for names that nobody here knows yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

_ALL = ("low", "medium", "high", "xhigh", "max")
_NO_XHIGH = ("low", "medium", "high", "max")


@dataclass(frozen=True, slots=True)
class Rules:
    """`usual` is the `max_tokens` for requests that set none, `most` what the model takes.

    `budget`, `adaptive`: ways to ask for thinking. `off`: the word that switches it off, None where nothing
    does; `thinks`: it thinks unless told otherwise; `shows`: its thoughts are in the answer unless told
    otherwise. `efforts`: the levels it takes. `sampling`: temperature, top_p, top_k; `both`: temperature
    together with top_p. `forced`: a tool call can be forced. `prefill`: it continues an assistant's turn.
    `schema`: structured output. `inline_system`: instructions in mid-conversation.
    """

    usual: int = 8_192
    most: int | None = None
    budget: bool = True
    adaptive: bool = False
    off: str | None = "disabled"
    thinks: bool = False
    shows: bool = True
    efforts: tuple[str, ...] = ()
    sampling: bool = True
    both: bool = True
    forced: bool = True
    prefill: bool = True
    schema: bool = False
    inline_system: bool = False


_OTHERS = Rules()  # models of other makers behind this dialect
_CLAUDE_3 = Rules(usual=4_096, most=4_096, budget=False)
_CLAUDE_3_5 = Rules(usual=8_192, most=8_192, budget=False)
_CLAUDE_4 = Rules(most=64_000)
_OPUS_4_1 = Rules(most=32_000, both=False, schema=True)
_CLAUDE_4_5 = Rules(usual=64_000, most=64_000, both=False, schema=True)
_CLAUDE_4_6 = Rules(
    usual=128_000,
    most=128_000,
    adaptive=True,
    efforts=_NO_XHIGH,
    both=False,
    prefill=False,
    schema=True,
)
_OPUS_4_7 = replace(_CLAUDE_4_6, budget=False, shows=False, efforts=_ALL, sampling=False)
_OPUS_4_8 = replace(_OPUS_4_7, inline_system=True)
_OPUS_5 = replace(_OPUS_4_8, thinks=True)
_FABLE_5 = replace(_OPUS_5, off=None)
_FABLE_5_1 = replace(_FABLE_5, forced=False)

_TABLE: Final[tuple[tuple[re.Pattern[str], Rules], ...]] = tuple(
    (re.compile(pattern), rules)
    for pattern, rules in (
        (r"claude-mythos-preview", replace(_FABLE_5, inline_system=False)),
        (r"claude-(fable|mythos)-5(-20\d{6})?$", _FABLE_5),
        (r"claude-(fable|mythos)-", _FABLE_5_1),
        (r"claude-opus-5(-20\d{6})?$", _OPUS_5),
        (r"claude-opus-5-", _FABLE_5_1),
        (r"claude-sonnet-5(-20\d{6})?$", replace(_OPUS_5, inline_system=False)),
        (r"claude-sonnet-5-", replace(_OPUS_5, off="between_tools", forced=False)),
        (r"claude-haiku-5", _OPUS_5),
        (r"claude-opus-4-8", _OPUS_4_8),
        (r"claude-opus-4-7", _OPUS_4_7),
        (r"claude-(opus|sonnet)-4-6", _CLAUDE_4_6),
        (r"claude-opus-4-5", replace(_CLAUDE_4_5, efforts=("low", "medium", "high"))),
        (r"claude-(sonnet|haiku)-4-5", _CLAUDE_4_5),
        (r"claude-opus-4-1", _OPUS_4_1),
        (r"claude-opus-4|claude-4-opus", replace(_CLAUDE_4, most=32_000)),
        (r"claude-sonnet-4|claude-4-sonnet", _CLAUDE_4),
        (r"claude-3-7", _CLAUDE_4),
        (r"claude-3-5", _CLAUDE_3_5),
        (r"claude-(3|2|instant)", _CLAUDE_3),
        (r"claude-", _OPUS_5),
    )
)


@lru_cache(maxsize=1_024)
def rules_of(model: str) -> Rules:
    """The rules for a model by the provider's name for it: with a maker in front, dots or dashes."""
    name = model.rpartition("/")[2].lower().replace(".", "-")
    for pattern, rules in _TABLE:
        if pattern.search(name):
            return rules
    return _OTHERS
