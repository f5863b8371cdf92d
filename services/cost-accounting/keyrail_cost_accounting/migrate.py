"""Brings the ledger's tables up to date: numbered SQL files, each applied once, its checksum kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from keyrail_cost_accounting.layout import Layout
from keyrail_cost_accounting.ledger import Ledger

TABLE = """\
CREATE TABLE IF NOT EXISTS migrations (name String, sha256 String, applied_at DateTime64(3, 'UTC'))
ENGINE = ReplacingMergeTree ORDER BY name"""
THERE = "SELECT name FROM system.tables WHERE database = currentDatabase() AND name = 'migrations'"


class MigrationChanged(Exception):
    """A migration that was applied to this ledger is not the one shipped: the schema is not known."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Checksum of the file as shipped."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The SQL statements, in order. A statement ends with a semicolon at the end of a line."""
        bare = "\n".join(line for line in self.text.splitlines() if not line.startswith("--"))
        return [part.strip() for part in re.split(r";\s*\n|;\s*$", bare) if part.strip()]


@dataclass(frozen=True, slots=True)
class State:
    """A ledger's schema beside this release's, by names of migrations.

    `changed` were applied as something else than what is shipped; `later` are of a later release.
    """

    pending: tuple[str, ...]
    changed: tuple[str, ...]
    later: tuple[str, ...]

    @property
    def current(self) -> bool:
        """Whether this release can work with it. A later one only adds."""
        return not self.pending and not self.changed


def shipped() -> list[Migration]:
    """The migrations of this release, oldest first."""
    folder = files("keyrail_cost_accounting").joinpath("migrations")
    found = [_read(file) for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted(found, key=lambda migration: migration.name)


def access() -> Migration:
    """Roles and their grants. Safe to repeat; no part of the schema."""
    return _read(files("keyrail_cost_accounting").joinpath("access.sql"))


def _read(file: Traversable) -> Migration:
    return Migration(file.name, file.read_text())


def pending(migrations: Sequence[Migration], applied: Mapping[str, str]) -> list[Migration]:
    """Those not applied yet. `applied` is name to checksum. Raises MigrationChanged."""
    if changed := compared(migrations, applied).changed:
        raise MigrationChanged(f"{', '.join(changed)} was changed after it had been applied")
    return [migration for migration in migrations if migration.name not in applied]


def compared(migrations: Sequence[Migration], applied: Mapping[str, str]) -> State:
    """What is shipped beside what was applied (name to checksum)."""
    ours = {migration.name: migration.sha256 for migration in migrations}
    return State(
        tuple(name for name in ours if name not in applied),
        tuple(name for name, sha256 in ours.items() if applied.get(name, sha256) != sha256),
        tuple(sorted(applied.keys() - ours.keys())),
    )


def state(ledger: Ledger) -> State:
    """Looks, and changes nothing. Raises LedgerUnavailable. Blocks."""
    return compared(shipped(), _applied(ledger) if ledger.ask(THERE, {}) else {})


def migrate(
    ledger: Ledger, layout: Layout | None = None, before_each: Callable[[], None] = lambda: None
) -> list[str]:
    """Apply what is pending and return its names. Safe to repeat, also after a crash half way. Blocks.

    `before_each` is called before each migration, to stop by an exception. Raises MigrationChanged.
    """
    layout = layout or Layout()
    ledger.command(layout.render(TABLE))
    todo = pending(shipped(), _applied(ledger))
    for migration in todo:
        before_each()
        for statement in migration.statements:
            ledger.command(layout.render(statement))
        ledger.command(
            "INSERT INTO migrations SELECT {name:String}, {sha256:String}, now64(3)",
            {"name": migration.name, "sha256": migration.sha256},
        )
    return [migration.name for migration in todo]


def grant_access(ledger: Ledger, layout: Layout) -> None:
    """Make the roles and give them what they may do. Raises LedgerUnavailable. Blocks."""
    for statement in access().statements:
        ledger.command(layout.render(statement))


def _applied(ledger: Ledger) -> dict[str, str]:
    rows = ledger.ask("SELECT name, sha256 FROM migrations FINAL", {})
    return {str(row["name"]): str(row["sha256"]) for row in rows}
