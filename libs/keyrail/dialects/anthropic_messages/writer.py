"""A stream for a client out of canonical events.

Blocks of this dialect come strictly one after the other, and only the first that is not complete is on the
wire. What belongs to a later one waits: calls of another dialect may come interleaved. A block is complete
when it was said to be, when another has begun and it is no call, or when another has begun and its arguments
are one whole JSON document.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import carried
from keyrail.dialects.anthropic_messages.answer import ending, is_citation, leading_seal, trailing_seal
from keyrail.dialects.anthropic_messages.errors import render_event
from keyrail.dialects.anthropic_messages.outbound_messages import tool_id
from keyrail.dialects.anthropic_messages.usage import raw_of
from keyrail.dialects.canonical.events import (
    ArgumentsPiece,
    Begin,
    Boundary,
    CallBegin,
    CitationPiece,
    Counted,
    Done,
    End,
    Event,
    Ping,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.counts import estimate_usage

_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
    b'{"type":"%b":%b}}\n\n'
)
_START = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_END = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'

_dump = json_text.dump
_TEXT = b'text_delta","text'
_THINKING = b'thinking_delta","thinking'
_SIGNATURE = b'signature_delta","signature'
_ARGUMENTS = b'input_json_delta","partial_json'
_CITATION = b'citations_delta","citation'


class _Block:
    """One content block: on the wire, or waiting with its pieces. `complete`: nothing more belongs to it."""

    __slots__ = ("arguments", "complete", "head", "id", "kind", "pieces")

    def __init__(self, kind: str, head: dict[str, Any], id_: str | None = None) -> None:
        self.kind = kind
        self.head = head
        self.id = id_
        self.pieces: list[tuple[bytes, bytes]] = []
        self.arguments = ""
        self.complete = False


class Writer:
    """Writes one stream. `message_delta` waits for `Done`, so that the usage in it is the last word."""

    def __init__(self, facts: Facts, model: str) -> None:
        self._facts = facts
        self._model = model
        self._started = False
        self._index = 0
        self._blocks: deque[_Block] = deque()  # the first one is on the wire when `_live`
        self._live = False
        self._words: bytes | None = None  # before a piece of text, while the block on the wire takes more
        self._calls: dict[int, _Block] = {}
        self._end: End | None = None
        self._refusal = ""
        self._usage: Usage | None = None
        self._characters = 0
        self._pieces = 0
        self._out: list[bytes] = []

    def write(self, events: list[Event]) -> bytes:
        """Bytes that are ready to send; empty when these events show nowhere."""
        for event in events:
            if type(event) is TextPiece:  # nearly all are
                if event.candidate == 0:
                    self._text(event)
            elif getattr(event, "candidate", 0) == 0:
                self._BY_TYPE[type(event)](self, event)
        if not self._out:
            return b""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _begin(self, event: Begin) -> None:
        if event.usage is not None:
            self._usage = event.usage
        if self._started:
            return
        self._started = True
        known = self._usage or Usage(input_tokens=self._facts.input_tokens_estimate)
        message = {
            "id": event.id or _invented(self._model, self._facts),
            "type": "message",
            "role": "assistant",
            "model": event.model or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": raw_of(known),
        }
        data = _dump({"type": "message_start", "message": message})
        self._out.append(b"event: message_start\ndata: " + data + b"\n\n")
        self._out.append(_PING)

    def _text(self, event: TextPiece) -> None:
        text = event.text
        if text:
            self._characters += len(text)
            self._pieces += 1
            if self._words is not None:
                self._out.append(self._words + _dump(text) + b"}}\n\n")
            else:
                self._piece("text", _TEXT, text)
                self._words = self._open_words()
        if event.seal is not None:
            self._whole(trailing_seal(event.seal))

    def _open_words(self) -> bytes | None:
        """What stands before more words of the block on the wire, when that is the last one and of text."""
        block = self._blocks[0]
        if not self._live or len(self._blocks) > 1 or block.kind != "text" or block.complete:
            return None
        return (_DELTA % (self._index, _TEXT, b"")).removesuffix(b"}}\n\n")

    def _refuse(self, event: RefusalPiece) -> None:
        self._refusal += event.text
        self._text(TextPiece(event.text))

    def _think(self, event: ThinkingPiece) -> None:
        if event.text:
            self._characters += len(event.text)
            self._pieces += 1
            self._piece("thinking", _THINKING, event.text, event.id)

    def _seal(self, event: Seal) -> None:
        seal = carried.outward(event)
        if not seal:
            return
        if event.redacted and event.kind != "gemini":
            self._whole({"type": "redacted_thinking", "data": seal})
            return
        tail = self._tail()
        if tail is None or tail.kind != "thinking" or tail.complete:
            self._open(_Block("thinking", _HEADS["thinking"], event.id))
        self._append(_SIGNATURE, _dump(seal))
        self._complete_tail()

    def _cite(self, event: CitationPiece) -> None:
        if is_citation(event.value):  # Anthropic sends it before the words it is for
            self._piece("text", _CITATION, event.value)

    def _call(self, event: CallBegin) -> None:
        if event.seal is not None:
            self._whole(leading_seal(event.seal))
        self._pieces += 1
        head = {"type": "tool_use", "id": tool_id(event.id), "name": event.name, "input": {}}
        block = _Block("call", head)
        self._calls[event.position] = block
        self._open(block)
        if event.arguments:
            self._argue(event.position, event.arguments)

    def _more_arguments(self, event: ArgumentsPiece) -> None:
        if event.text:
            self._argue(event.position, event.text)

    def _argue(self, position: int, text: str) -> None:
        block = self._calls.get(position)
        if block is None or block.complete:
            return
        self._characters += len(text)
        block.arguments += text
        piece = (_ARGUMENTS, _dump(text))
        if self._live and self._blocks[0] is block:
            self._send(piece)
            if len(self._blocks) > 1:
                self._advance()
        else:
            block.pieces.append(piece)

    def _boundary(self, event: Boundary) -> None:
        if len(self._blocks) == 1:  # with several, nobody can say whose end it is
            self._complete_tail()

    def _ping(self, event: Ping) -> None:
        if self._started:
            self._out.append(_PING)

    def _finish(self, event: End) -> None:
        self._end = event
        self._close_all()

    def _count(self, event: Counted) -> None:
        self._usage = event.usage

    def _done(self, event: Done) -> None:
        self._start()
        self._close_all()
        end = self._end or End(None)
        if end.finish == "error":
            self._out.append(render_event(_GAVE_UP))
            return
        usage = self._usage
        if usage is None or usage.output_tokens is None:
            guess = estimate_usage(self._facts.input_tokens_estimate, self._characters, self._pieces)
            usage = guess if usage is None else usage.replace(output_tokens=guess.output_tokens)
        delta = ending(end.finish, end.stop_sequence, called=bool(self._calls), refusal=self._refusal)
        data = _dump({"type": "message_delta", "delta": delta, "usage": raw_of(usage)})
        self._out.append(b"event: message_delta\ndata: " + data + b"\n\n")
        self._out.append(_STOP)

    def _start(self) -> None:
        if not self._started:
            self._begin(Begin())

    def _tail(self) -> _Block | None:
        return self._blocks[-1] if self._blocks else None

    def _piece(self, kind: str, name: bytes, value: object, id_: str | None = None) -> None:
        """Text or thoughts: more of the last block where that is of this kind, else a new one."""
        tail = self._blocks[-1] if self._blocks else None
        if tail is None or tail.kind != kind or tail.complete or (id_ != tail.id and tail.id is not None):
            self._open(_Block(kind, _HEADS[kind], id_))
        self._append(name, _dump(value))

    def _append(self, name: bytes, value: bytes) -> None:
        """A piece of the last block."""
        if self._live and len(self._blocks) == 1:
            self._out.append(_DELTA % (self._index, name, value))
        else:
            self._blocks[-1].pieces.append((name, value))

    def _whole(self, head: dict[str, Any]) -> None:
        """A block that is complete as it begins."""
        if head["type"] == "thinking":
            self._open(_Block("thinking", _HEADS["thinking"]))
            self._append(_SIGNATURE, _dump(head["signature"]))
        else:
            self._open(_Block("redacted", head))
        self._complete_tail()

    def _open(self, block: _Block) -> None:
        self._start()
        if self._blocks and self._blocks[-1].kind != "call":
            self._blocks[-1].complete = True
        self._blocks.append(block)
        self._advance()

    def _complete_tail(self) -> None:
        if self._blocks:
            self._blocks[-1].complete = True
            self._advance()

    def _close_all(self) -> None:
        for block in self._blocks:
            block.complete = True
        self._advance()

    def _advance(self) -> None:
        """Put on the wire what can be: the first block, and each that the end of the one before lets out."""
        while self._blocks:
            block = self._blocks[0]
            if not self._live:
                self._out.append(_START % (self._index, _dump(block.head)))
                self._live = True
                for piece in block.pieces:
                    self._send(piece)
                block.pieces.clear()
            if not (block.complete or (len(self._blocks) > 1 and _is_whole(block))):
                return
            block.complete = True
            self._words = None
            self._out.append(_END % self._index)
            self._index += 1
            self._live = False
            self._blocks.popleft()

    def _send(self, piece: tuple[bytes, bytes]) -> None:
        self._out.append(_DELTA % (self._index, *piece))

    _BY_TYPE: ClassVar[dict[type, Callable[[Writer, Any], None]]] = {
        Begin: _begin,
        TextPiece: _text,
        RefusalPiece: _refuse,
        ThinkingPiece: _think,
        Seal: _seal,
        CallBegin: _call,
        ArgumentsPiece: _more_arguments,
        CitationPiece: _cite,
        Boundary: _boundary,
        Ping: _ping,
        End: _finish,
        Counted: _count,
        Done: _done,
    }


def _is_whole(block: _Block) -> bool:
    """Whether a call's arguments need nothing more."""
    text = block.arguments.rstrip()
    return text.endswith("}") and type(json_text.parse_or_none(text.encode())) is dict


def _invented(model: str, facts: Facts) -> str:
    seed = f"{model} {facts.model} {facts.input_tokens_estimate}"
    return "msg_" + hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:24]


_GAVE_UP = Failure(kind="server", message="The provider gave up before the answer was whole.", status=502)
_HEADS: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}
