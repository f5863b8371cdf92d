"""Whatever comes from providers and clients: nothing of it raises, and what is written stays readable."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.messages import payloads

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.dialects import json_text
from keyrail.dialects.anthropic_messages import counting, face, wire
from keyrail.dialects.anthropic_messages.usage import usage_of
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.answer import Answer
from keyrail.dialects.canonical.request import Request

FACTS = Facts(dialect="anthropic-messages", model="m", stream=True)
MODELS = ("claude-sonnet-4-5", "claude-opus-5", "claude-sonnet-4-0", "claude-3-haiku", "x")
BLOCKS = ("text", "thinking", "tool_use", "tool_result", "redacted_thinking", "image", "document", "?")
BLOCK = ("text", "thinking", "signature", "data", "id", "name", "input", "source", "content", "citations")
EVENTS = (
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop", "ping"),
    *("message_delta", "message_stop", "content_block_delta", "content_block_delta", "?"),
)
DELTA = ("text", "partial_json", "thinking", "signature", "citation", "stop_reason", "stop_details", "usage")
WORDS = ("", "x", "auto", "tool", "adaptive", "json_schema", "base64", "url", "refusal", "krs1.gemini.x")
ODD = ("krs1.openai.~x", "krs1.openai.~e30=", "{", '{"a":1}', "keyrail_json_answer", "é")
PARAMETERS = (
    *("system", "tools", "tool_choice", "thinking", "output_config", "metadata", "cache_control"),
    *("service_tier", "stop_sequences", "top_k", "temperature", "stream", "unheard_of"),
)


class Dice:
    """Random JSON that looks a little like this dialect."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, options: tuple[Any, ...]) -> Any:
        return self._random.choice(options)

    def some(self, make: Any, most: int) -> list[Any]:
        return [make() for _ in range(self._random.randrange(most + 1))]

    def any(self, depth: int = 3) -> Any:
        kind = self._random.randrange(9 if depth else 6)
        if kind < 3:
            return self.one(WORDS + ODD)
        if kind < 6:
            return self.one((None, True, False, 0, 1, -1, 2**70, 0.5, 1e300))
        if kind == 6:
            return self.some(lambda: self.any(depth - 1), 3)
        return {self.one((*BLOCK, *DELTA, "type")): self.any(depth - 1) for _ in range(3)}

    def holding(self, type_: Any, names: tuple[str, ...]) -> dict[str, Any]:
        fields = {name: self.any() for name in names if self._random.random() < 0.4}
        return {"type": type_, **fields}

    def block(self) -> Any:
        block = self.holding(self.one(BLOCKS), BLOCK)
        for name in ("text", "thinking", "data", "id", "name", "tool_use_id"):
            if self._random.random() < 0.7:
                block[name] = self.one(WORDS + ODD)
        if self._random.random() < 0.3:
            block["source"] = self.holding(self.one(WORDS), ("data", "url", "content"))
        return block

    def event(self) -> Any:
        if self._random.random() < 0.1:
            return self.any()
        event = self.holding(self.one(EVENTS), ("index", "message", "usage"))
        event["delta"] = self.holding("?", DELTA) if self._random.random() < 0.9 else self.any()
        event["content_block"] = self.block()
        return event

    def request(self) -> dict[str, Any]:
        def message() -> dict[str, Any]:
            content = self.some(self.block, 3) if self._random.random() < 0.8 else self.any(0)
            return {"role": self.one(("user", "assistant", "system")), "content": content}

        body = {"model": "m", "max_tokens": self.one((0, 1, 9_000)), "messages": [message(), message()]}
        return {**body, **{name: self.any() for name in PARAMETERS if self._random.random() < 0.15}}


@pytest.mark.parametrize("seed", range(10))
def test_no_event_of_a_provider_breaks_reading_passing_or_writing(seed: int) -> None:
    dice = Dice(seed)
    for _ in range(40):
        reader, relay = wire.reader("p"), wire.passing("p", FACTS)
        writer = face.writer(FACTS, model="m")
        written = b""
        for event in dice.some(dice.event, 10):
            name = dice.one((b"", b"event: message_delta\n"))
            data = name + b"data: " + json_text.dump(event) + b"\n\n"
            written += writer.write(reader.feed(data))
            relay.feed(data)
        written += writer.write(reader.end())
        relay.end()
        assert relay.done is (relay.failure is None)
        starts = [event["index"] for event in payloads(written) if event["type"] == "content_block_start"]
        assert starts == list(range(len(starts)))


@pytest.mark.parametrize("seed", range(10))
def test_no_answer_of_a_provider_breaks_parsing_or_rendering(seed: int) -> None:
    dice = Dice(seed)
    for _ in range(40):
        body = {"content": dice.some(dice.block, 4), "usage": dice.any(), "stop_reason": dice.any(1)}
        for value in (body, {**body, "stop_details": dice.any()}, dice.any()):
            answer = wire.parse_answer(json_text.dump(value), "p")
            wire.classify("p", 400, {}, json_text.dump(value))
            usage_of(value)
            if isinstance(answer, Answer):
                rendered = json.loads(face.render_answer(answer, model="m"))
                assert all(isinstance(block, dict) for block in rendered["content"])


@pytest.mark.parametrize("seed", range(10))
def test_a_request_that_passes_the_check_is_described_read_and_written(seed: int) -> None:
    dice = Dice(seed)
    checked = 0
    for _ in range(150):
        body = dice.request()
        if face.check(body) is not None:
            continue
        checked += 1
        face.facts(body)
        wire.prepare(json_text.dump(body), model="claude-x", quirks=Quirks())
        request = face.read_request(body)
        if isinstance(request, Request):
            assert counting.estimate(request) > 0
            written = wire.write_request(request, model=dice.one(MODELS), quirks=Quirks())
            if not isinstance(written, Failure):
                assert face.check(json.loads(json_text.dump(written.body))) is None
    assert checked > 5


@given(data=st.binary(max_size=200))
def test_no_bytes_break_anything(data: bytes) -> None:
    reader, relay = wire.reader("p"), wire.passing("p", FACTS)
    reader.feed(data)
    reader.end()
    relay.feed(data)
    relay.end()
    assert reader.failure is not None
    assert relay.failure is not None
    assert isinstance(wire.parse_answer(data, "p"), Failure)
    wire.classify("p", 500, {}, data)
