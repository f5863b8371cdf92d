"""What a virtual key may ask for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from keyrail.contracts.config import ConfigView
from keyrail.contracts.slips import Target


def allows(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns matches the name. No patterns match nothing: that is the callers' case."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def allows_targets(patterns: Iterable[str], targets: Iterable[Target]) -> bool:
    """Whether each target, as `provider/model`, is allowed; False where there is none."""
    names = [f"{target.provider}/{target.model}" for target in targets]
    return bool(names) and all(allows(patterns, name) for name in names)


def shown(patterns: tuple[str, ...], config: ConfigView) -> tuple[str, ...]:
    """The models of the configuration that a key with these patterns may ask for; no patterns: all."""
    if not patterns:
        return config.models
    return tuple(name for name in config.models if _allowed(patterns, name, config))


def _allowed(patterns: tuple[str, ...], name: str, config: ConfigView) -> bool:
    """By its own name, by that of what it stands for, or because all that it leads to is allowed."""
    end = config.aliases.get(name, name)
    if allows(patterns, name) or allows(patterns, end):
        return True
    route = config.routes.get(end)
    return route is not None and allows_targets(patterns, (weighted.target for weighted in route.targets))
