"""docs/compatibility.md out of what was tried."""

from __future__ import annotations

from pathlib import Path

from support.compatibility.matrix import BASES, Table

PAGE = Path(__file__).parents[3] / "docs" / "compatibility.md"

_HEAD = """\
# Compatibility

What a client of each face gets from each built-in provider: `yes`, `dropped: NAME` (the answer is fine without what
`x-keyrail-dropped` names), or `refused` (a 400 that names the parameter). Every cell is a test that ran: `make compatibility`
drives the official SDKs through the whole stack against the [sandbox](sandbox.md), which speaks each provider's dialect and
refuses fields and seals that this dialect would not take, and `make test` fails when a cell differs from this page.
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
        "The next turn has the thoughts as the client's SDK keeps them. anthropic's, gemini's and those of Responses are"
        " sealed, and the sandbox refuses the turn unless the seal comes back whole. In chat there are no seals: the words go"
        " back to who takes them, and from a chat client to mistral they are left out without being named.",
    ),
    "JSON schema": ("models", "Tried with `claude-sonnet-4-6` and `gemini-3-flash`: older models take less."),
    "count_tokens": (
        "count",
        "Counted by providers that are asked in Messages or generateContent, estimated by Keyrail for the others.",
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
