"""Where the running stack says how to reach it: `run.json` and `admin.token` in the home."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


class NotRunning(Exception):
    """Nothing to talk to; the text says where it was looked for."""


def home(environment: Mapping[str, str]) -> Path:
    """`$KEYRAIL_HOME`, or `.keyrail` in the current directory."""
    return Path(environment.get("KEYRAIL_HOME") or ".keyrail")


def admin(folder: Path) -> tuple[str, str]:
    """The admin API's URL and token. Raises NotRunning."""
    try:
        url = json.loads((folder / "run.json").read_text())["admin_url"]
        token = (folder / "admin.token").read_text().strip()
    except FileNotFoundError as error:
        raise NotRunning(f"nothing runs in {folder.absolute()} (KEYRAIL_HOME says where to look)") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotRunning(f"cannot read how to reach Keyrail in {folder.absolute()}: {error}") from error
    return str(url), token
