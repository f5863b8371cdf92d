"""Tools from npm, pinned by a lock file in tests/tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


def installed(name: str, folder: Path) -> Path:
    """The folder with what tests/tools/<name> locks. Skips, and says so, where npm is missing or fails."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"NOT TESTED against {name}: there is no npm on this machine")
    for file in (TOOLS / name).iterdir():
        shutil.copy(file, folder)
    done = subprocess.run(
        [npm, "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    if done.returncode != 0:
        pytest.skip(f"NOT TESTED against {name}: npm ci failed: {done.stderr[-300:]}")
    return folder
