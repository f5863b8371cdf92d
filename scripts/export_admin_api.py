"""Write what the admin API says of itself, OpenAPI 3.1, to `docs/admin-api.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from keyrail_control.api import openapi, table
from keyrail_control.api.routing import Routes

FILE = Path(__file__).parents[1] / "docs/admin-api.json"


def routes() -> Routes:
    """The table with nobody behind it."""
    nobody = cast("Any", None)
    return table.whole(
        table.Behind(
            metrics=nobody,
            providers=nobody,
            ledger=nobody,
            keys=nobody,
            tokens=nobody,
            configuration=nobody,
            spent=nobody,
            learned=nobody,
            kept=nobody,
        )
    )


def text() -> str:
    """What the file should hold."""
    return json.dumps(openapi.document(routes()), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
    sys.stdout.write(f"{FILE}\n")
