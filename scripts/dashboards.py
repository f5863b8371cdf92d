"""Write Grafana's dashboards to `deploy/grafana/dashboards`."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.grafana import money, panels, traffic

FOLDER = Path(__file__).parents[1] / "deploy/grafana/dashboards"
BOARDS = (
    money.OVERVIEW, money.TEAMS, money.MODELS, traffic.RELIABILITY, traffic.ROUTING, money.BUDGETS,
)  # fmt: skip


def files() -> dict[str, str]:
    """Their text by the name of the file."""
    return {
        f"{board.uid}.json": json.dumps(panels.render(board), indent=1, ensure_ascii=False) + "\n"
        for board in BOARDS
    }


def main() -> None:
    """Write them all, and remove what is none any more."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    texts = files()
    for old in FOLDER.glob("*.json"):
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
