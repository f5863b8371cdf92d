"""docs/compatibility.md out of what was tried."""

from __future__ import annotations

from pathlib import Path

from support.compatibility.matrix import BASES, Table

PAGE = Path(__file__).parents[3] / "docs" / "compatibility.md"

_HEAD = """\
# Compatibility

What a client of each API gets from each built-in provider: `yes`, `dropped: NAME` (fine but for what
`x-keyrail-dropped` names), or `refused` (a 400 that names the parameter). Every cell is a test that ran:
`make compatibility` drives the official SDKs through the whole stack to the [sandbox](sandbox.md), which
speaks each provider's dialect and refuses what that does not define, and `make test` fails where this page is
wrong.
"""
_TITLES = {
    "/v1/chat/completions": "Chat completions",
    "/v1/responses": "Responses",
    "/v1/messages": "Messages",
    "/v1/embeddings": "Embeddings",
}
_NOTES = {
    "thinking shown": (
        "shown",
        "Not all models of a provider show their thoughts. In chat, gemini's are shown to a client that sends"
        " `include_reasoning: true`.",
    ),
    "thinking given back": (
        "back",
        "The next turn holds what the client's SDK keeps of the last one. Thoughts of anthropic, gemini and"
        " providers asked in Responses are sealed, and the sandbox refuses the turn when the seal does not"
        " come back whole. Providers asked in chat seal nothing: the words go back to those that take them.",
    ),
    "JSON schema": ("models", "Tried with `claude-sonnet-4-6` and `gemini-3-flash`: older models take less."),
    "count_tokens": (
        "count",
        "Counted by providers that are asked in Messages or generateContent, estimated for the others.",
    ),
}


def render(tables: dict[str, Table]) -> str:
    """The whole page."""
    notes = "\n".join(f"[^{name}]: {text}" for name, text in _NOTES.values())
    return "\n".join([_HEAD, *(_section(path, table) for path, table in tables.items()), notes, ""])


def _section(path: str, table: Table) -> str:
    head = f"| | {' | '.join(BASES)} |\n|---{'|---' * len(BASES)}|"
    rows = [
        f"| {_label(name)} | {' | '.join(cells[provider] for provider in BASES)} |"
        for name, cells in table.items()
    ]
    return "\n".join([f"## {_TITLES[path]}: `{path}`", "", head, *rows, ""])


def _label(name: str) -> str:
    note = _NOTES.get(name)
    return f"{name}[^{note[0]}]" if note else name
