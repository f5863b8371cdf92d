"""The `routes` section: named lists of targets and how one of them is chosen."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from keyrail.config import route_rules
from keyrail.config.problems import quoted
from keyrail.config.reader import Entry, Reader
from keyrail.config.tenants import unknown_price
from keyrail.config.tree import Scalar
from keyrail.contracts.config import Abilities, RouteConfig, WeightedTarget
from keyrail.contracts.slips import Strategy, Target, Timeouts

HIGHEST_WEIGHT: Final = 1_000_000
HIGHEST_WINDOW: Final = 100_000_000
LONGEST_TIMEOUT_S: Final = 86_400
_STRATEGIES: Final[dict[str, Strategy]] = {
    "fallback": "fallback",
    "weighted": "weighted",
    "cheapest": "cheapest",
    "fastest": "fastest",
    "smart": "smart",
    "race": "race",
}
_TIMEOUTS: Final = {
    "connect": "connect_s",
    "first_byte": "first_byte_s",
    "first_token": "first_token_s",
    "between_chunks": "between_chunks_s",
    "total": "total_s",
}
_FIELDS: Final = (
    "strategy",
    "targets",
    "timeouts",
    "unknown_price",
    "reference",
    *route_rules.FIELDS,
)
_FLAGS: Final = ("tools", "vision", "json_schema", "prefill")
_TARGET: Final = ("model", "weight", "quality", "window", *_FLAGS)
_ROUTE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MODEL = re.compile(r"[!-~]{1,200}")


def routes_of(
    reader: Reader, section: Mapping[str, Entry], providers: Collection[str]
) -> dict[str, RouteConfig]:
    """The routes by name, without those that are wrong. `providers`: names that targets may begin with."""
    found: dict[str, RouteConfig] = {}
    for name, entry in section.items():
        if route := _route(reader, name, entry, providers):
            found[name] = route
    return found


def _route(reader: Reader, name: str, entry: Entry, providers: Collection[str]) -> RouteConfig | None:
    _check_name(reader, name, entry, providers)
    fields = reader.fields(entry, _FIELDS)
    if fields is None:
        return None
    targets = _targets(reader, entry, fields.get("targets"), providers)
    good = tuple(target for target in targets if target is not None)
    strategy = _strategy(reader, entry, fields.get("strategy"), single=len(targets) <= 1)
    if strategy == "weighted" and good == targets != () and not any(target.weight for target in good):
        reader.bad(fields["targets"], "at least one weight must be above 0")
    timeouts = _timeouts(reader, fields.get("timeouts"))
    policy = unknown_price(reader, fields.get("unknown_price"))
    reference = target_of(reader, fields["reference"], providers) if "reference" in fields else None
    rules = route_rules.rules_of(reader, fields, strategy, many=len(targets) > 1)
    if strategy is None:
        return None
    if strategy == "smart" and good == targets != ():
        _check_smart(reader, entry, fields.get("reference"), good, reference)
    return RouteConfig(
        name=name,
        strategy=strategy,
        targets=good,
        timeouts=timeouts,
        unknown_price=policy,
        reference=reference,
        **rules,
    )


def _check_name(reader: Reader, name: str, entry: Entry, providers: Collection[str]) -> None:
    if "/" in name:
        reader.bad(entry, "a route's name has no /: that is how provider/model is told from a route")
    elif not _ROUTE_NAME.fullmatch(name):
        reader.bad(
            entry, "a route's name is 1 to 64 of a-z, 0-9, ., _ and -, beginning with a letter or a digit"
        )
    if name in providers:
        reader.bad(entry, "a provider has this name")


def _check_smart(
    reader: Reader,
    route: Entry,
    entry: Entry | None,
    targets: Sequence[WeightedTarget],
    reference: Target | None,
) -> None:
    """What a smart route compares with has to be one of its targets, and somebody has to say what is good."""
    if entry is None:
        if all(each.quality is None for each in targets):
            reader.bad(
                route,
                "a smart route needs a reference, which serves until verdicts say what the others are worth, "
                "or a quality at one of its targets",
            )
    elif reference is not None and all(each.target != reference for each in targets):
        names = [f"{each.target.provider}/{each.target.model}" for each in targets]
        text = f"{reference.provider}/{reference.model}"
        hint = reader.report.hint(text, names)
        reader.bad(
            entry, f"{quoted(text)} is not among the targets, but a smart route falls back to it{hint}"
        )


def _strategy(reader: Reader, route: Entry, entry: Entry | None, *, single: bool) -> Strategy | None:
    known = ", ".join(_STRATEGIES)
    if entry is None:
        if not single:
            reader.bad(route, f"strategy is missing; known: {known}")
        return "fallback" if single else None
    text = reader.text(entry)
    if text is None:
        return None
    if text == "experiment":
        reader.bad(entry, f"experiments are not there yet; known: {known}")
    elif text not in _STRATEGIES:
        hint = reader.report.hint(text, _STRATEGIES)
        reader.bad(entry, f"unknown strategy {quoted(text)}{hint}; known: {known}")
    return _STRATEGIES.get(text)


def _targets(
    reader: Reader, route: Entry, entry: Entry | None, providers: Collection[str]
) -> tuple[WeightedTarget | None, ...]:
    """None in place of a target that is wrong."""
    if entry is None:
        reader.bad(route, "targets is missing")
        return ()
    items = reader.items(entry)
    if items is not None and not items:
        reader.bad(entry, "is empty: a route needs a target")
    return tuple(_weighted_target(reader, item, providers) for item in items or ())


def _weighted_target(reader: Reader, entry: Entry, providers: Collection[str]) -> WeightedTarget | None:
    if isinstance(entry.node, Scalar):
        target = target_of(reader, entry, providers)
        return WeightedTarget(target=target) if target else None
    fields = reader.fields(entry, _TARGET)
    if fields is None:
        return None
    target = None
    if "model" in fields:
        target = target_of(reader, fields["model"], providers)
    else:
        reader.bad(entry, "model is missing")
    weight = reader.whole(fields["weight"], 0, HIGHEST_WEIGHT) if "weight" in fields else 1
    quality = reader.ratio(fields["quality"]) if "quality" in fields else None
    abilities = _abilities(reader, fields)
    if target is None or weight is None:
        return None
    return WeightedTarget(target=target, weight=weight, quality=quality, abilities=abilities)


def _abilities(reader: Reader, fields: Mapping[str, Entry]) -> Abilities:
    said: dict[str, Any] = {name: reader.flag(fields[name]) for name in _FLAGS if name in fields}
    if "window" in fields:
        said["window"] = reader.whole(fields["window"], 1, HIGHEST_WINDOW)
    return Abilities(**said)


def target_of(reader: Reader, entry: Entry, providers: Collection[str]) -> Target | None:
    """What `provider/model` names."""
    text = reader.text(entry)
    if text is None:
        return None
    provider, slash, model = text.partition("/")
    if not slash:
        reader.bad(entry, f"{quoted(text)} has no provider: write provider/model")
        return None
    if provider not in providers:
        hint = reader.report.hint(provider, sorted(providers))
        reader.bad(entry, f"unknown provider {quoted(provider)}{hint}")
    if not _MODEL.fullmatch(model):
        reader.bad(entry, "a model's name is 1 to 200 characters without blanks")
        return None
    return Target(provider=provider, model=model)


def _timeouts(reader: Reader, entry: Entry | None) -> Timeouts:
    """Seconds, as a number or a duration."""
    if entry is None:
        return Timeouts()
    seconds: dict[str, float] = {}
    for name, field in (reader.fields(entry, _TIMEOUTS) or {}).items():
        value = reader.seconds(field, LONGEST_TIMEOUT_S)
        if value is not None:
            seconds[_TIMEOUTS[name]] = value
    return Timeouts(**seconds)
