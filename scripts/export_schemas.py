"""Write the JSON schema of every event, as its producer sends it, to `contracts/schemas/v1`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import get_args

import msgspec

from keyrail.contracts import events
from keyrail.contracts.base import Contract

FOLDER = Path(__file__).parents[1] / "libs/keyrail/contracts/schemas/v1"


def contracts() -> dict[str, type[Contract]]:
    """The events by name, such as `attempt.started`."""
    return {str(each.__struct_config__.tag): each for each in get_args(events.Event)}


def schemas() -> dict[str, str]:
    """What each file should hold, by its name."""
    return {
        f"{name}.json": json.dumps(msgspec.json.schema(contract), indent=2) + "\n"
        for name, contract in contracts().items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = schemas()
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    sys.stdout.write(f"{len(wanted)} schemas in {FOLDER}\n")
