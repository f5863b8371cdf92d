"""keyrail.yaml as a ConfigView: providers, routes, aliases and tenants, checked against each other."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from keyrail.config.problems import Report, quoted
from keyrail.config.providers import provider_of
from keyrail.config.reader import Entry, Reader
from keyrail.config.routes import routes_of, target_of
from keyrail.config.tenants import tenants_of, unknown_price
from keyrail.config.tree import Scalar, read
from keyrail.contracts.config import ConfigView, ProviderConfig, RouteConfig

SECTIONS: Final = ("providers", "routes", "aliases", "tenants")
SETTINGS: Final = ("unknown_price", "output_cap")
HIGHEST_CAP: Final = 10_000_000
_ALIAS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")


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
    routes = routes_of(reader, sections["routes"], names)
    aliases = _aliases(reader, sections["aliases"], names, sections["routes"].keys())
    view = ConfigView(
        providers=providers,
        routes=routes,
        aliases=aliases,
        tenants=tenants_of(reader, sections["tenants"], names),
        unknown_price=unknown_price(reader, top.get("unknown_price")),
        models=_models(routes.values(), aliases),
    )
    if "output_cap" in top and (cap := reader.whole(top["output_cap"], 1, HIGHEST_CAP)) is not None:
        view = view.replace(output_cap=cap)
    report.raise_if_any()
    return view


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
            target_of(reader, entry, providers)
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
