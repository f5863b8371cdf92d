"""Write the JSON schema of every event, as its producer sends it, to `contracts/schemas/v1`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from keyrail.contracts import events
from keyrail.contracts.base import Contract

FOLDER = Path(__file__).parents[1] / "libs/keyrail/contracts/schemas/v1"


def contracts() -> dict[str, type[Contract]]:
    """The events by name, such as `attempt.started`."""
    found = [each for each in vars(events).values() if isinstance(each, type) and issubclass(each, Contract)]
    return {str(each.model_fields["event"].default): each for each in found if "event" in each.model_fields}


def schemas() -> dict[str, str]:
    """What each file should hold, by its name."""
    return {
        f"{name}.json": json.dumps(contract.model_json_schema(mode="serialization"), indent=2) + "\n"
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
