"""What is answered: pieces of text, a tool call, a count of tokens. Pure and deterministic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle, islice
from typing import Any, Literal, cast

import msgspec

from keyrail_sandbox.ask import Ask
from keyrail_sandbox.behaviour import Behaviour

Finish = Literal["stop", "length", "tool_calls"]

BYTES_PER_PIECE = 256
LETTERS_PER_ARGUMENT_PIECE = 8
_WORDS = ("amber ", "birch ", "cedar ", "delta ", "ember ", "fjord ", "grove ", "heron ")
_REASONING = ("Reading ", "the ", "question. ", "Answering ", "it. ")
_MULTIBYTE = "Příliš žluťoučký kůň, 你好 世界, καλημέρα κόσμε, 🙂🚀 done"
_PIECE = re.compile(r"\s*\S+|\s+")


class Answer(msgspec.Struct, frozen=True):
    """One token is one piece, of reasoning or of content. `tool`: the pieces are its arguments (JSON)."""

    pieces: Sequence[str]
    reasoning: Sequence[str]
    tool: str | None
    finish: Finish
    prompt_tokens: int
    cached_tokens: int

    @property
    def completion_tokens(self) -> int:
        """Reasoning included, as providers count it."""
        return len(self.pieces) + len(self.reasoning)


def compose(ask: Ask, behaviour: Behaviour) -> Answer:
    """The whole answer, before faults and delays."""
    tool = ask.tool.name if behaviour.content == "tools" and ask.tool else None
    pieces = _pieces(ask, behaviour)
    reasoning = _REASONING if behaviour.reasoning else ()
    finish: Finish = "tool_calls" if tool else "stop"
    if ask.limit is not None and ask.limit < len(pieces) + len(reasoning):
        reasoning = reasoning[: ask.limit]
        pieces = pieces[: ask.limit - len(reasoning)]
        finish = "length"
    cached = ask.prompt_tokens // 2 if behaviour.cached else 0
    return Answer(pieces, reasoning, tool, finish, ask.prompt_tokens, cached)


def split(text: str) -> list[str]:
    """Words, each with the white space before it; joined they are the text again."""
    return _PIECE.findall(text)


def _pieces(ask: Ask, behaviour: Behaviour) -> Sequence[str]:
    if behaviour.content == "echo":
        return _echo(ask.text, behaviour)
    if behaviour.content == "tools" and ask.tool:
        arguments = msgspec.json.encode(example(ask.tool.schema, ask.text)).decode()
        return [
            arguments[at : at + LETTERS_PER_ARGUMENT_PIECE]
            for at in range(0, len(arguments), LETTERS_PER_ARGUMENT_PIECE)
        ]
    if behaviour.content == "json":
        quoted = msgspec.json.encode(ask.text).decode()
        return split(f'{{"echo": {quoted}, "words": {len(ask.text.split())}}}')
    if behaviour.content == "tools":
        return _echo(ask.text, behaviour)
    return _filler(behaviour.content, behaviour.size)


def _echo(text: str, behaviour: Behaviour) -> Sequence[str]:
    if behaviour.split_utf8 and text.isascii():
        text = _MULTIBYTE
    pieces = split(text)
    least = behaviour.stop_after
    if least is not None and len(pieces) < least:
        # A fault after N chunks needs N chunks, however short the question was.
        return list(islice(cycle(pieces or _WORDS), least))
    return pieces


@lru_cache(maxsize=16)
def _filler(kind: str, size: int) -> tuple[str, ...]:
    if kind == "chunks":
        return tuple(islice(cycle(_WORDS), size))
    block = ("abcdefghijklmno " * BYTES_PER_PIECE)[:BYTES_PER_PIECE]
    whole, rest = divmod(size, BYTES_PER_PIECE)
    return (block,) * whole + ((block[:rest],) if rest else ())


def example(schema: dict[str, Any], text: str) -> Any:
    """A value that fits the usual JSON schemas of tools: required properties only, strings are the text."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = cast("list[str]", kind)[0]
    if kind == "object":
        properties = cast("dict[str, dict[str, Any]]", schema.get("properties", {}))
        required = cast("list[str]", schema.get("required", list(properties)))
        return {name: example(properties.get(name, {}), text) for name in required}
    plain: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "null": None}
    return plain.get(cast("str", kind), text)
