"""Write docs/compatibility.md again: try every face with every provider, and say what came of it.

Exits 1 with what went wrong, and leaves the page alone, where a cell is neither yes, dropped nor refused.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from support.compatibility.matrix import tried
from support.compatibility.page import PAGE, render
from support.sandbox_process import running


def main() -> int:
    """The exit code."""
    with running() as sandbox, tempfile.TemporaryDirectory() as directory:
        matrix = asyncio.run(tried(Path(directory) / "home", sandbox.url))
    if matrix.faults:
        sys.stderr.write("\n".join([*matrix.faults, ""]))
        return 1
    PAGE.write_text(render(matrix.tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
