"""Fail when a file has more than 500 lines or a function more than 60."""

import ast
import sys
from pathlib import Path

MAX_FILE, MAX_FUNCTION = 500, 60
FOLDERS = ("libs", "services", "tests", "bench", "scripts")


def problems(path: Path) -> list[str]:
    text = path.read_text()
    found: list[str] = []
    if (lines := text.count("\n")) > MAX_FILE:
        found.append(f"{path}: {lines} lines")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            size = node.end_lineno - node.lineno + 1
            if size > MAX_FUNCTION:
                found.append(f"{path}:{node.lineno}: {node.name} has {size} lines")
    return found


if __name__ == "__main__":
    everything = [p for folder in FOLDERS for p in sorted(Path(folder).rglob("*.py"))]
    found = [line for path in everything for line in problems(path)]
    sys.stdout.write("".join(line + "\n" for line in found))
    sys.exit(bool(found))
