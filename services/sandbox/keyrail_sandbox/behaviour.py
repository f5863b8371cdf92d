"""What a model's name asks the sandbox to do. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

Content = Literal["echo", "chunks", "bytes", "tools", "json"]
Fault = Literal["status", "error", "cut", "garbage", "empty", "hang"]

MODELS = (
    "echo",
    "metered",
    "chunks-100",
    "bytes-1000",
    "tools",
    "json",
    "reasoning",
    "cached",
    "stall-2s",
    "slow-20ms",
    "keepalive",
    "crlf",
    "split-utf8",
    "no-done",
    "no-usage",
    "flaky-3",
    "status-500",
    "insufficient-quota",
    "context-length",
    "cut-5",
    "error-200",
    "garbage",
    "empty",
    "hang",
)
"""One name for each kind of part; what GET /v1/models lists."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One answer's script. `size` counts content chunks or bytes; None means that nothing was asked.

    `stop_after` is the number of content chunks before the cut or the error. `flaky` N: of each N calls only
    the last succeeds.
    """

    content: Content = "echo"
    size: int = 0
    fault: Fault | None = None
    status: int | None = None
    code: str | None = None
    retry_after_s: int | None = None
    stop_after: int | None = None
    stall_s: float = 0.0
    slow_s: float = 0.0
    flaky: int | None = None
    reasoning: bool = False
    cached: bool = False
    metered: bool = False
    keepalive: bool = False
    crlf: bool = False
    split_utf8: bool = False
    no_done: bool = False
    no_usage: bool = False


_PLAIN: dict[str, dict[str, Any]] = {
    "echo": {"content": "echo"},
    "tools": {"content": "tools"},
    "json": {"content": "json"},
    "insufficient-quota": {"fault": "status", "status": 429, "code": "insufficient_quota"},
    "context-length": {"fault": "status", "status": 400, "code": "context_length_exceeded"},
    "error-200": {"fault": "error"},
    "garbage": {"fault": "garbage"},
    "empty": {"fault": "empty"},
    "hang": {"fault": "hang"},
    "reasoning": {"reasoning": True},
    "cached": {"cached": True},
    "metered": {"metered": True},
    "keepalive": {"keepalive": True},
    "crlf": {"crlf": True},
    "split-utf8": {"split_utf8": True},
    "no-done": {"no_done": True},
    "no-usage": {"no_usage": True},
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
}
_WAITS = {"stall": "stall_s", "slow": "slow_s"}
_LONGEST_WAIT_S = 600.0
_NUMBER = re.compile(r"([a-z-]+)-([0-9]{1,9})(ms|s)?")


@lru_cache(maxsize=1024)
def parse(model: str) -> Behaviour | None:
    """The behaviour of a model's name, parts joined by `+`. None: there is no such model.

    Parts that contradict each other (two contents, two faults), or say nothing alone (`after-3` without
    `error-200`, `retry-after-3` without a status) make a name that does not exist.
    """
    fields: dict[str, Any] = {}
    for name in model.split("+"):
        part = _PLAIN.get(name) or _numbered(name)
        if part is None or not fields.keys().isdisjoint(part):
            return None
        fields.update(part)
    if "stop_after" in fields and fields.get("fault") not in ("cut", "error"):
        return None
    if "retry_after_s" in fields and fields.get("fault") != "status":
        return None
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
