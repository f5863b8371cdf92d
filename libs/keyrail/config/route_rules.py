"""What a route says besides its targets: how it chooses, races, keeps answers, retries and sticks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, TypeVar

from keyrail.config.problems import quoted
from keyrail.config.reader import Entry, Reader
from keyrail.config.tree import Fields, Scalar
from keyrail.contracts.config import KEEP_CONFIDENCE, CacheConfig, RaceRule, SmartRule
from keyrail.contracts.slips import CacheMode, Strategy

FIELDS: Final = ("smart", "race", "cache", "mid_stream", "stick", "retries")
MOST_RACERS: Final = 8
MOST_RETRIES: Final = 5
LONGEST_S: Final = 86_400
LONGEST_TTL_S: Final = 7 * 86_400
HIGHEST_WORTH: Final = 1_000
HIGHEST_MASS: Final = 10_000
_PREFER: Final[dict[str, Literal["cost", "latency"]]] = {"cost": "cost", "latency": "latency"}
_RACES: Final[dict[str, Literal["first", "first_complete", "best", "hedge"]]] = {
    "first": "first",
    "first_complete": "first_complete",
    "best": "best",
    "hedge": "hedge",
}
_MID_STREAM: Final[dict[str, Literal["stop", "continue"]]] = {"stop": "stop", "continue": "continue"}
_CACHE: Final[dict[str, CacheMode]] = {"off": "off", "on": "on", "read": "read", "write": "write"}
_T = TypeVar("_T")


def rules_of(
    reader: Reader, fields: Mapping[str, Entry], strategy: Strategy | None, *, many: bool
) -> dict[str, Any]:
    """The named fields of RouteConfig that are given. `many`: the route has more than one target."""
    found: dict[str, Any] = {}
    if "smart" in fields:
        if strategy not in (None, "smart"):
            reader.bad(fields["smart"], "says how a smart route chooses, but the strategy is another one")
        found["smart"] = _smart(reader, fields["smart"])
    elif strategy == "smart":
        found["smart"] = SmartRule()
    if "race" in fields:
        found["race"] = _race(reader, fields["race"])
    elif strategy == "race":
        found["race"] = RaceRule(mode="first")
    if not many and (strategy == "race" or "race" in fields):
        reader.bad(fields["race" if "race" in fields else "strategy"], "a race needs a second target")
    if "cache" in fields:
        found["cache"] = _cache(reader, fields["cache"])
    if "mid_stream" in fields and (said := _one_of(reader, fields["mid_stream"], _MID_STREAM)):
        found["mid_stream"] = said
    if "stick" in fields:
        seconds = 0.0 if _is_off(fields["stick"]) else reader.seconds(fields["stick"], LONGEST_S)
        found["stick_s"] = round(seconds or 0) or int(bool(seconds))
    if "retries" in fields and (times := reader.whole(fields["retries"], 0, MOST_RETRIES)) is not None:
        found["retries"] = times
    return found


def _smart(reader: Reader, entry: Entry) -> SmartRule:
    known = ("prefer", "bar", "confidence", "mass", "neighbours", "worth", "keep")
    fields = reader.fields(entry, known) or {}
    said: dict[str, Any] = {}
    if "prefer" in fields:
        said["prefer"] = _one_of(reader, fields["prefer"], _PREFER)
    if "bar" in fields:
        said["bar"] = _above_zero(reader, fields["bar"])
    if "confidence" in fields:
        confidence = _above_zero(reader, fields["confidence"])
        if confidence is not None and not 0.5 <= confidence < 1:
            reader.bad(fields["confidence"], "must be at least 0.5 and below 1: less is a guess, 1 is never")
        said["confidence"] = confidence
    if "mass" in fields:
        said["mass"] = reader.positive(fields["mass"], HIGHEST_MASS)
    if "worth" in fields:
        said["worth"] = reader.positive(fields["worth"], HIGHEST_WORTH)
    if "keep" in fields:
        said["keep"] = _above_zero(reader, fields["keep"])
        said.setdefault("confidence", KEEP_CONFIDENCE)
        if "worth" in fields:
            reader.bad(fields["worth"], "is found out where the route says what to keep")
    if "neighbours" in fields:
        said["neighbours"] = reader.switch(fields["neighbours"])
    return SmartRule(**{name: value for name, value in said.items() if value is not None})


def _race(reader: Reader, entry: Entry) -> RaceRule:
    known = ("mode", "most", "delay", "quantile", "within", "drain", "extra_spend")
    if isinstance(entry.node, Scalar) and entry.node.value is not None:
        return RaceRule(mode=_one_of(reader, entry, _RACES) or "first")
    fields = reader.fields(entry, known) or {}
    mode = _one_of(reader, fields["mode"], _RACES) if "mode" in fields else "first"
    for name in ("delay", "quantile"):
        if name in fields and mode not in (None, "hedge"):
            reader.bad(fields[name], f"belongs to a hedge, but the mode is {mode}")
    if "delay" in fields and "quantile" in fields:
        reader.bad(fields["quantile"], "has no effect beside a delay")
    said: dict[str, Any] = {
        "most": reader.whole(fields["most"], 2, MOST_RACERS) if "most" in fields else None,
        "delay_s": reader.seconds(fields["delay"], LONGEST_S) if "delay" in fields else None,
        "quantile": _below_one(reader, fields["quantile"]) if "quantile" in fields else None,
        "within_s": reader.seconds(fields["within"], LONGEST_S) if "within" in fields else None,
        "drain": reader.switch(fields["drain"]) if "drain" in fields else None,
        "extra_spend": _share(reader, fields["extra_spend"]) if "extra_spend" in fields else None,
    }
    return RaceRule(
        mode=mode or "first", **{name: value for name, value in said.items() if value is not None}
    )


def _cache(reader: Reader, entry: Entry) -> CacheConfig:
    """`on`, or how."""
    if not isinstance(entry.node, Fields):
        return CacheConfig(mode=_cache_mode(reader, entry))
    fields = reader.fields(entry, ("mode", "ttl", "any_temperature")) or {}
    said: dict[str, Any] = {"mode": _cache_mode(reader, fields["mode"]) if "mode" in fields else "on"}
    if "ttl" in fields and (seconds := reader.seconds(fields["ttl"], LONGEST_TTL_S)) is not None:
        if seconds < 1:
            reader.bad(fields["ttl"], "must be at least 1s")
        said["ttl_s"] = round(seconds)
    if "any_temperature" in fields and (flag := reader.switch(fields["any_temperature"])) is not None:
        said["any_temperature"] = flag
    return CacheConfig(**said)


def _cache_mode(reader: Reader, entry: Entry) -> CacheMode:
    if isinstance(entry.node, Scalar) and isinstance(entry.node.value, bool):
        return "on" if entry.node.value else "off"
    return _one_of(reader, entry, _CACHE) or "off"


def _is_off(entry: Entry) -> bool:
    return isinstance(entry.node, Scalar) and (entry.node.value in ("off", 0) or entry.node.value is False)


def _one_of(reader: Reader, entry: Entry, known: Mapping[str, _T]) -> _T | None:
    text = reader.text(entry)
    if text is None:
        return None
    if text not in known:
        reader.bad(entry, f"must be {_either(known)}, not {quoted(text)}{reader.report.hint(text, known)}")
    return known.get(text)


def _either(names: Collection[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} or {last}"


def _above_zero(reader: Reader, entry: Entry) -> float | None:
    value = reader.ratio(entry)
    if value == 0:
        reader.bad(entry, "must be above 0")
    return value


def _below_one(reader: Reader, entry: Entry) -> float | None:
    value = _above_zero(reader, entry)
    if value == 1:
        reader.bad(entry, "must be below 1")
    return value


def _share(reader: Reader, entry: Entry) -> float | None:
    """`0.05` or `5%`."""
    node = entry.node
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.value.endswith("%"):
        try:
            value = float(node.value[:-1]) / 100
        except ValueError:
            value = -1.0
        if 0 <= value <= 1:
            return value
        reader.bad(entry, f"must be a share such as 0.05 or 5%, not {quoted(node.value)}")
        return None
    return reader.ratio(entry)
