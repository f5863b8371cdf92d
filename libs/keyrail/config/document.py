"""keyrail.yaml as a ConfigView: providers, routes, aliases and tenants, checked against each other."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from keyrail.config.problems import Report, quoted
from keyrail.config.providers import provider_of
from keyrail.config.reader import Entry, Reader
from keyrail.config.tenants import tenants_of, unknown_price
from keyrail.config.tree import Scalar, read
from keyrail.contracts.config import ConfigView, ProviderConfig, RouteConfig, WeightedTarget
from keyrail.contracts.slips import Strategy, Target, Timeouts

SECTIONS: Final = ("providers", "routes", "aliases", "tenants")
SETTINGS: Final = ("unknown_price", "output_cap")
HIGHEST_CAP: Final = 10_000_000
HIGHEST_WEIGHT: Final = 1_000_000
LONGEST_TIMEOUT_S: Final = 86_400
_STRATEGIES: Final[dict[str, Strategy]] = {"fallback": "fallback", "weighted": "weighted"}
_TIMEOUTS: Final = {
    "connect": "connect_s",
    "first_byte": "first_byte_s",
    "between_chunks": "between_chunks_s",
    "total": "total_s",
}
_ROUTE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ALIAS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_MODEL = re.compile(r"[!-~]{1,200}")


def parse(text: str, filename: str, builtins: Mapping[str, ProviderConfig]) -> ConfigView:
    """The configuration in `text`. `builtins`: the providers that need no declaration, by name.

    Aliases of aliases are followed to their end, so that each alias in the result names a `provider/model` or
    a route. Revision 0; `models` lists what the file names. Raises ConfigError with everything that is wrong.
    """
    report = Report(filename)
    reader = Reader(report)
    nothing = Scalar(1, "", None)
    top = reader.fields(Entry(1, "", read(text, report) or nothing), (*SECTIONS, *SETTINGS)) or {}
    sections = {name: (reader.fields(top[name]) or {}) if name in top else {} for name in SECTIONS}
    names = builtins.keys() | sections["providers"].keys()
    providers = dict(builtins)
    for name, entry in sections["providers"].items():
        if provider := provider_of(reader, name, entry, builtins):
            providers[name] = provider
    routes: dict[str, RouteConfig] = {}
    for name, entry in sections["routes"].items():
        if route := _route(reader, name, entry, names):
            routes[name] = route
    aliases = _aliases(reader, sections["aliases"], names, sections["routes"].keys())
    view = ConfigView(
        providers=providers,
        routes=routes,
        aliases=aliases,
        tenants=tenants_of(reader, sections["tenants"]),
        unknown_price=unknown_price(reader, top.get("unknown_price")),
        models=_models(routes.values(), aliases),
    )
    if "output_cap" in top and (cap := reader.whole(top["output_cap"], 1, HIGHEST_CAP)) is not None:
        view = view.replace(output_cap=cap)
    report.raise_if_any()
    return view


def _route(reader: Reader, name: str, entry: Entry, providers: Collection[str]) -> RouteConfig | None:
    if "/" in name:
        reader.bad(entry, "a route's name has no /: that is how provider/model is told from a route")
    elif not _ROUTE_NAME.fullmatch(name):
        reader.bad(
            entry, "a route's name is 1 to 64 of a-z, 0-9, ., _ and -, beginning with a letter or a digit"
        )
    if name in providers:
        reader.bad(entry, "a provider has this name")
    fields = reader.fields(entry, ("strategy", "targets", "timeouts", "unknown_price", "reference"))
    if fields is None:
        return None
    targets = _targets(reader, entry, fields.get("targets"), providers)
    good = tuple(target for target in targets if target is not None)
    strategy = _strategy(reader, entry, fields.get("strategy"), single=len(targets) <= 1)
    if strategy == "weighted" and good == targets != () and not any(target.weight for target in good):
        reader.bad(fields["targets"], "at least one weight must be above 0")
    timeouts = _timeouts(reader, fields.get("timeouts"))
    policy = unknown_price(reader, fields.get("unknown_price"))
    reference = _target(reader, fields["reference"], providers) if "reference" in fields else None
    if strategy is None:
        return None
    return RouteConfig(
        name=name,
        strategy=strategy,
        targets=good,
        timeouts=timeouts,
        unknown_price=policy,
        reference=reference,
    )


def _strategy(reader: Reader, route: Entry, entry: Entry | None, *, single: bool) -> Strategy | None:
    if entry is None:
        if not single:
            reader.bad(route, "strategy is missing: fallback or weighted")
        return "fallback" if single else None
    text = reader.text(entry)
    if text is None:
        return None
    if text not in _STRATEGIES:
        hint = reader.report.hint(text, _STRATEGIES)
        reader.bad(entry, f"unknown strategy {quoted(text)}{hint}; known: fallback, weighted")
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
        target = _target(reader, entry, providers)
        return WeightedTarget(target=target) if target else None
    fields = reader.fields(entry, ("model", "weight"))
    if fields is None:
        return None
    target = None
    if "model" in fields:
        target = _target(reader, fields["model"], providers)
    else:
        reader.bad(entry, "model is missing")
    weight = reader.whole(fields["weight"], 0, HIGHEST_WEIGHT) if "weight" in fields else 1
    return WeightedTarget(target=target, weight=weight) if target and weight is not None else None


def _target(reader: Reader, entry: Entry, providers: Collection[str]) -> Target | None:
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
    if entry is None:
        return Timeouts()
    seconds: dict[str, float] = {}
    for name, field in (reader.fields(entry, _TIMEOUTS) or {}).items():
        value = reader.positive(field, LONGEST_TIMEOUT_S)
        if value is not None:
            seconds[_TIMEOUTS[name]] = value
    return Timeouts(**seconds)


def _aliases(
    reader: Reader, section: Mapping[str, Entry], providers: Collection[str], routes: Collection[str]
) -> dict[str, str]:
    """Each alias and what it stands for in the end."""
    written: dict[str, str] = {}
    for name, entry in section.items():
        if not _ALIAS_NAME.fullmatch(name):
            reader.bad(entry, "an alias is a bare name of 1 to 128 letters, digits, ., _, :, @ and -")
        if name in routes or name in providers:
            reader.bad(entry, f"a {'route' if name in routes else 'provider'} has this name")
        text = reader.text(entry)
        if text is None:
            continue
        if "/" in text:
            _target(reader, entry, providers)
        elif text not in routes and text not in section:
            hint = reader.report.hint(text, [*routes, *section])
            reader.bad(entry, f"unknown target {quoted(text)}: no route or alias has this name{hint}")
        written[name] = text
    return _followed(reader, section, written)


def _followed(reader: Reader, section: Mapping[str, Entry], written: Mapping[str, str]) -> dict[str, str]:
    ends: dict[str, str] = {}
    for start in written:
        chain: dict[str, None] = {}
        name = start
        while name in written and name not in ends and name not in chain:
            chain[name] = None
            name = written[name]
        if name in chain:
            steps = [*chain][[*chain].index(name) :]
            shown = [*steps[:8], "..."] if len(steps) > 8 else steps
            reader.bad(section[name], f"goes in a circle: {' -> '.join([*shown, name])}")
        ends |= dict.fromkeys(chain, ends.get(name, name))
    return {name: ends[name] for name in written}


def _models(routes: Iterable[RouteConfig], aliases: Mapping[str, str]) -> tuple[str, ...]:
    """Routes, aliases, then the models that they name; each once, in the order of the file."""
    routes = list(routes)
    targets = [f"{t.target.provider}/{t.target.model}" for route in routes for t in route.targets]
    direct = [target for target in aliases.values() if "/" in target]
    return tuple(dict.fromkeys([*(route.name for route in routes), *aliases, *targets, *direct]))
