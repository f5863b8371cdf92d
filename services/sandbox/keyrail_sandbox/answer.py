"""What is answered: pieces of text, tool calls, counts of tokens. Pure and deterministic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import cycle, islice
from typing import Literal

import msgspec

from keyrail_sandbox.ask import Ask, Tool
from keyrail_sandbox.behaviour import Behaviour
from keyrail_sandbox.schema import example

Finish = Literal["stop", "length", "tool_calls", "filter", "refusal"]

BYTES_PER_PIECE = 256
LETTERS_PER_ARGUMENT_PIECE = 8
HUGE_LINE_BYTES = 1024 * 1024
_WORDS = ("amber ", "birch ", "cedar ", "delta ", "ember ", "fjord ", "grove ", "heron ")
_REASONING = ("Reading ", "the ", "question. ", "Answering ", "it. ")
_MULTIBYTE = "Příliš žluťoučký kůň, 你好 世界, καλημέρα κόσμε, 🙂🚀 done"
_REFUSAL = "I can't help with that."
_BAD_ARGUMENTS = '{"place": "nowhere'
_PIECE = re.compile(r"\s*\S+|\s+")
_CALLING = frozenset({"tools", "tools-parallel", "tool-noargs", "tool-badargs"})


class Call(msgspec.Struct, frozen=True):
    """A tool call; the pieces are its arguments (JSON, unless bad ones were asked for), none: it has none."""

    name: str
    pieces: tuple[str, ...]

    @property
    def text(self) -> str:
        """The arguments as the model wrote them."""
        return "".join(self.pieces)


class Answer(msgspec.Struct, frozen=True):
    """One token is one piece: of reasoning, of text, or of a call's arguments.

    `prompt_tokens` include those read from the cache and those written to it.
    """

    pieces: Sequence[str]
    reasoning: Sequence[str]
    calls: tuple[Call, ...]
    finish: Finish
    prompt_tokens: int
    cached_tokens: int
    written_tokens: int

    @property
    def content_tokens(self) -> int:
        """Without reasoning."""
        said = len(self.pieces)
        return said + sum(len(call.pieces) for call in self.calls) if self.calls else said

    @property
    def completion_tokens(self) -> int:
        """Reasoning included, as most providers count it."""
        return self.content_tokens + len(self.reasoning)

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def thoughts(self) -> str:
        """The whole reasoning."""
        return "".join(self.reasoning)


def compose(ask: Ask, behaviour: Behaviour) -> Answer:
    """The whole answer, before faults and delays."""
    calls = _calls(ask, behaviour)
    pieces = () if calls else _going_on(ask.begun, _pieces(ask, behaviour))
    finish: Finish = "tool_calls" if calls else "stop"
    match behaviour.content:
        case "refusal":
            finish = "refusal"
        case "length" | "filter" as early:
            pieces, finish = pieces[: max(len(pieces) // 2, 1)], early
        case "full" if ask.limit is not None:
            finish = "length"
        case _:
            pass
    answer = Answer(
        pieces=pieces,
        reasoning=_REASONING if behaviour.reasoning and ask.thinking else (),
        calls=calls,
        finish=finish,
        prompt_tokens=ask.prompt_tokens,
        cached_tokens=ask.prompt_tokens // 2 if behaviour.cached else 0,
        written_tokens=ask.prompt_tokens // 4 if behaviour.cached else 0,
    )
    if ask.limit is None or answer.completion_tokens <= ask.limit:
        return answer
    reasoning = answer.reasoning[: ask.limit]
    cut = stopped(answer, ask.limit - len(reasoning))
    return msgspec.structs.replace(cut, reasoning=reasoning, finish="length")


def stopped(answer: Answer, after: int) -> Answer:
    """The answer as far as this many pieces of content."""
    pieces = answer.pieces[:after]
    left = after - len(pieces)
    calls: list[Call] = []
    for call in answer.calls:
        if left > 0:
            calls.append(Call(call.name, call.pieces[:left]))
        left -= len(call.pieces)
    return msgspec.structs.replace(answer, pieces=pieces, calls=tuple(calls))


def interleaved(calls: Sequence[Call]) -> Iterator[tuple[int, str, bool]]:
    """The pieces of calls by turns: position of the call, piece, whether it is the call's first.

    A call without arguments has one piece, which is empty.
    """
    for turn in range(max((max(len(call.pieces), 1) for call in calls), default=0)):
        for position, call in enumerate(calls):
            if turn < max(len(call.pieces), 1):
                yield position, call.pieces[turn] if call.pieces else "", turn == 0


def split(text: str) -> list[str]:
    """Words, each with the white space before it; joined they are the text again."""
    return _PIECE.findall(text)


def _calls(ask: Ask, behaviour: Behaviour) -> tuple[Call, ...]:
    if behaviour.content not in _CALLING or not ask.tools or ask.results is not None:
        return ()
    tools = ask.tools[:1]
    if behaviour.content == "tools-parallel" and ask.parallel:
        tools = (ask.tools * 2)[:2]
    return tuple(Call(tool.name, _arguments(tool, ask.text, behaviour)) for tool in tools)


def _arguments(tool: Tool, text: str, behaviour: Behaviour) -> tuple[str, ...]:
    if behaviour.content == "tool-noargs":
        return ()
    arguments = _BAD_ARGUMENTS
    if behaviour.content != "tool-badargs":
        arguments = msgspec.json.encode(example(tool.schema, text)).decode()
    starts = range(0, len(arguments), LETTERS_PER_ARGUMENT_PIECE)
    return tuple(arguments[at : at + LETTERS_PER_ARGUMENT_PIECE] for at in starts)


def _going_on(begun: str, pieces: Sequence[str]) -> Sequence[str]:
    """What is left of the answer after its beginning; all of it where it begins otherwise."""
    text = "".join(pieces) if begun else ""
    return split(text.removeprefix(begun)) if begun and text.startswith(begun) else pieces


def _pieces(ask: Ask, behaviour: Behaviour) -> Sequence[str]:
    match behaviour.content:
        case "json":
            if ask.schema is not None:
                return split(msgspec.json.encode(example(ask.schema, ask.text)).decode())
            quoted = msgspec.json.encode(ask.text).decode()
            return split(f'{{"echo": {quoted}, "words": {len(ask.text.split())}}}')
        case "image":
            return split(f"images: {', '.join(ask.media) or 'none'}")
        case "refusal":
            return split(_REFUSAL)
        case "chunks" | "bytes" as kind:
            return _filler(kind, behaviour.size)
        case "full" if ask.limit is not None:
            return _filler("chunks", ask.limit)
        case "huge-line":
            return _huge_line()
        case content if content in _CALLING and ask.results:
            return _echo(" ".join(ask.results), behaviour)
        case _:
            return _echo(ask.text, behaviour)


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


@lru_cache(maxsize=1)
def _huge_line() -> tuple[str, ...]:
    return ("abcdefghijklmno " * (HUGE_LINE_BYTES // 16),)
