"""Brings the ledger's tables up to date: numbered SQL files, each applied once, its checksum kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from keyrail_cost_accounting.ledger import Ledger

TABLE = """
CREATE TABLE IF NOT EXISTS migrations (name String, sha256 String, applied_at DateTime64(3, 'UTC'))
ENGINE = ReplacingMergeTree ORDER BY name
"""


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


def shipped() -> list[Migration]:
    """The migrations of this release, oldest first."""
    folder = files("keyrail_cost_accounting").joinpath("migrations")
    found = [
        Migration(file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.name)


def pending(migrations: list[Migration], applied: Mapping[str, str]) -> list[Migration]:
    """Those not applied yet. `applied` is name to checksum. Raises MigrationChanged."""
    for migration in migrations:
        if applied.get(migration.name, migration.sha256) != migration.sha256:
            raise MigrationChanged(f"{migration.name} was changed after it had been applied")
    return [migration for migration in migrations if migration.name not in applied]


def migrate(ledger: Ledger) -> list[str]:
    """Apply what is pending and return its names. Safe to repeat, also after a crash half way. Blocks."""
    ledger.command(TABLE)
    rows = ledger.ask("SELECT name, sha256 FROM migrations FINAL", {})
    todo = pending(shipped(), {str(row["name"]): str(row["sha256"]) for row in rows})
    for migration in todo:
        for statement in migration.statements:
            ledger.command(statement)
        ledger.command(
            "INSERT INTO migrations SELECT {name:String}, {sha256:String}, now64(3)",
            {"name": migration.name, "sha256": migration.sha256},
        )
    return [migration.name for migration in todo]
