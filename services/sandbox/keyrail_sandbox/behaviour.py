"""What a model's name asks the sandbox to do. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

from keyrail_sandbox.ask import Kind

Content = Literal[
    "echo",
    "chunks",
    "bytes",
    "tools",
    "tools-parallel",
    "tool-noargs",
    "tool-badargs",
    "json",
    "image",
    "refusal",
    "filter",
    "length",
    "full",
    "huge-line",
]
Fault = Literal[
    "status",
    "refuse",
    "error",
    "mid-stream",
    "cut",
    "garbage",
    "empty",
    "empty-stream",
    "null-choices",
    "hang",
]

MODELS = (
    "echo",
    "metered",
    "chunks-100",
    "bytes-1000",
    "tools",
    "tools-parallel",
    "tool-noargs",
    "tool-badargs",
    "json",
    "image",
    "refusal",
    "filter",
    "length",
    "full",
    "huge-line",
    "reasoning",
    "reasoning-tools",
    "cached",
    "logprobs",
    "stall-2s",
    "slow-20ms",
    "keepalive",
    "crlf",
    "split-utf8",
    "no-done",
    "usage-none",
    "usage-nonsense",
    "late-usage",
    "usage-always",
    "echo-strict",
    "echo-strict-422",
    "flaky-3",
    "status-500",
    "insufficient-quota",
    "context-length",
    "error-auth",
    "error-money",
    "error-rate",
    "error-daily",
    "error-capacity",
    "error-server",
    "error-context",
    "error-missing",
    "error-bad-request",
    "error-policy",
    "error-too-large",
    "error-mid-stream",
    "cut-5",
    "error-200",
    "null-choices",
    "garbage",
    "empty",
    "empty-stream",
    "hang",
)
"""One name for each kind of part; what lists of models show."""

AFTER_CHUNKS = 2
"""Content chunks before an error in the middle of a stream, unless the name says how many."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One answer's script. `size` counts content chunks or bytes; None means that nothing was asked.

    `stop_after` is the number of content chunks before the cut or the error. `flaky` N: of each N calls only
    the last succeeds. `seldom` N: of each N calls only the last waits or has the fault. `kind` is the error
    of a `refuse`. `strict`: unknown fields are a 400, or with `detailed` a 422 where the dialect knows one.
    """

    content: Content = "echo"
    size: int = 0
    fault: Fault | None = None
    status: int | None = None
    kind: Kind | None = None
    retry_after_s: int | None = None
    stop_after: int | None = None
    stall_s: float = 0.0
    slow_s: float = 0.0
    flaky: int | None = None
    seldom: int | None = None
    reasoning: bool = False
    cached: bool = False
    metered: bool = False
    keepalive: bool = False
    crlf: bool = False
    split_utf8: bool = False
    no_done: bool = False
    no_usage: bool = False
    nonsense_usage: bool = False
    late_usage: bool = False
    unasked_usage: bool = False
    logprobs: bool = False
    strict: bool = False
    detailed: bool = False


_PLAIN: dict[str, dict[str, Any]] = {
    "echo": {"content": "echo"},
    "tools": {"content": "tools"},
    "tools-parallel": {"content": "tools-parallel"},
    "tool-noargs": {"content": "tool-noargs"},
    "tool-badargs": {"content": "tool-badargs"},
    "json": {"content": "json"},
    "image": {"content": "image"},
    "refusal": {"content": "refusal"},
    "filter": {"content": "filter"},
    "length": {"content": "length"},
    "full": {"content": "full"},
    "huge-line": {"content": "huge-line"},
    "insufficient-quota": {"fault": "refuse", "kind": "money"},
    "context-length": {"fault": "refuse", "kind": "context"},
    "error-200": {"fault": "error"},
    "error-mid-stream": {"fault": "mid-stream"},
    "garbage": {"fault": "garbage"},
    "empty": {"fault": "empty"},
    "empty-stream": {"fault": "empty-stream"},
    "null-choices": {"fault": "null-choices"},
    "hang": {"fault": "hang"},
    "reasoning": {"reasoning": True},
    "reasoning-tools": {"reasoning": True, "content": "tools"},
    "cached": {"cached": True},
    "metered": {"metered": True},
    "keepalive": {"keepalive": True},
    "crlf": {"crlf": True},
    "split-utf8": {"split_utf8": True},
    "no-done": {"no_done": True},
    "no-usage": {"no_usage": True},
    "usage-none": {"no_usage": True},
    "usage-nonsense": {"nonsense_usage": True},
    "late-usage": {"late_usage": True},
    "usage-always": {"unasked_usage": True},
    "logprobs": {"logprobs": True},
    **{f"error-{kind}": {"fault": "refuse", "kind": kind} for kind in get_args(Kind)},
}

# name: (field of the number, least, most, what else the part sets)
_NUMBERED: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "status": ("status", 400, 599, {"fault": "status"}),
    "retry-after": ("retry_after_s", 0, 86_400, {}),
    "cut": ("stop_after", 0, 1_000_000, {"fault": "cut"}),
    "after": ("stop_after", 0, 1_000_000, {}),
    "chunks": ("size", 0, 1_000_000, {"content": "chunks"}),
    "bytes": ("size", 0, 64 * 1024 * 1024, {"content": "bytes"}),
    "flaky": ("flaky", 1, 1_000_000, {}),
    "seldom": ("seldom", 1, 1_000_000, {}),
}
_NAMES = re.compile(r"(claude|gemini)-[a-z0-9.-]+")
"""Of models by which a gateway knows what they take. They do nothing here."""
_WAITS = {"stall": "stall_s", "slow": "slow_s"}
_LONGEST_WAIT_S = 600.0
_NUMBER = re.compile(r"([a-z-]+)-([0-9]{1,9})(ms|s)?")
_SUFFIXES: dict[str, dict[str, Any]] = {
    "-strict": {"strict": True},
    "-strict-422": {"strict": True, "detailed": True},
}


@lru_cache(maxsize=1024)
def parse(model: str) -> Behaviour | None:
    """The behaviour of a model's name, parts joined by `+`, `-strict` at its end. None: no such model.

    Parts that contradict each other (two contents, two faults), or say nothing alone (`after-3` without
    `error-200`, `retry-after-3` without a status) make a name that does not exist.
    """
    fields: dict[str, Any] = {}
    for suffix, more in _SUFFIXES.items():
        if model.endswith(suffix):
            model = model.removesuffix(suffix)
            fields.update(more)
    names = [name for name in model.split("+") if not _NAMES.fullmatch(name)]
    if not names:
        return None
    for name in names:
        part = _PLAIN.get(name) or _numbered(name)
        if part is None or not fields.keys().isdisjoint(part):
            return None
        fields.update(part)
    if "stop_after" in fields and fields.get("fault") not in ("cut", "error", "mid-stream"):
        return None
    if "retry_after_s" in fields and fields.get("fault") not in ("status", "refuse"):
        return None
    if fields.get("fault") == "mid-stream":
        fields.setdefault("stop_after", AFTER_CHUNKS)
    return Behaviour(**fields)


def _numbered(name: str) -> dict[str, Any] | None:
    found = _NUMBER.fullmatch(name)
    if found is None:
        return None
    kind, digits, unit = found.groups()
    if kind in _WAITS and unit:
        seconds = int(digits) / (1000 if unit == "ms" else 1)
        return {_WAITS[kind]: seconds} if seconds <= _LONGEST_WAIT_S else None
    if kind not in _NUMBERED or unit:
        return None
    field, least, most, others = _NUMBERED[kind]
    number = int(digits)
    return {field: number, **others} if least <= number <= most else None
