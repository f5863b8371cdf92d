"""How the ledger's tables are laid out on servers: one, or replicas of a cluster. Pure.

Migrations are written for one server. For a cluster each statement is rendered: where it runs, and the engine
of its table. Checksums are of migrations as shipped, so that the same ledger can't tell the difference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PATH: Final = "'/clickhouse/tables/{uuid}/{shard}', '{replica}'"
"""Where replicas meet in Keeper, by macros that every server of a cluster defines."""

_CREATE = re.compile(r"(CREATE TABLE (?:IF NOT EXISTS )?\w+)(\s*\(.*)", re.DOTALL)
_ENGINE = re.compile(r"(?<=\bENGINE = )(\w+)(?:\(([^()]*)\))?(?=\s|$)")
_NAMED = re.compile(
    r"((?:ALTER TABLE|DROP TABLE(?: IF EXISTS)?|CREATE (?:ROLE|USER|SETTINGS PROFILE)(?: IF NOT EXISTS)?"
    r"|DROP (?:ROLE|USER|SETTINGS PROFILE)(?: IF EXISTS)?)\s+\w+)(?![\w.])(.*)",
    re.DOTALL,
)
_ALTERED = re.compile(r"(ALTER (?:ROLE|USER|SETTINGS PROFILE)\s+\w+)(?![\w.])(.*)", re.DOTALL)
_GRANT = re.compile(r"(GRANT|REVOKE)(\s.*)", re.DOTALL)
_RENAME = re.compile(r"(RENAME TABLE \w+ TO \w+)(\s*)")
_CLUSTER = re.compile(r"[A-Za-z0-9_.{}-]+")


class UnknownStatement(ValueError):
    """A statement of a form that nobody has said how to render."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`cluster`: the name that statements are run ON CLUSTER of. `replicated`: its tables are replicated.

    Neither, for one server, the embedded engine, and ClickHouse Cloud, which replicates by itself.
    """

    cluster: str | None = None
    replicated: bool = False

    def __post_init__(self) -> None:
        if self.cluster is not None and not _CLUSTER.fullmatch(self.cluster):
            raise ValueError("the name of a cluster has letters, digits, _, -, . and {} only")

    def render(self, statement: str) -> str:
        """The statement for this layout. Raises UnknownStatement, for every layout alike."""
        on = f" ON CLUSTER '{self.cluster}'" if self.cluster else ""
        if found := _CREATE.fullmatch(statement):
            return found[1] + on + self._with_engine(found[2])
        for form in (_NAMED, _ALTERED, _GRANT, _RENAME):
            if found := form.fullmatch(statement):
                return found[1] + on + found[2]
        raise UnknownStatement(f"not known how to run on a cluster: {' '.join(statement.split())[:80]}")

    def _with_engine(self, definition: str) -> str:
        engines = _ENGINE.findall(definition)
        if len(engines) != 1 or not re.fullmatch(r"Null|(?!Replicated|Shared)\w*MergeTree", engines[0][0]):
            raise UnknownStatement(f"not known how to replicate a table of engine {engines}")
        ((engine, arguments),) = engines
        if not self.replicated or engine == "Null":
            return definition
        given = ", ".join(part for part in (PATH, arguments) if part)
        return _ENGINE.sub(lambda _: f"Replicated{engine}({given})", definition)
