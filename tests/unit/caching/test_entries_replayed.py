"""An answer that was kept says to every client what it said when it was made."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chat import assembled, parse
from support.responses_sdk import accumulate, answer_of, stream_of

from keyrail.caching import entry, fold
from keyrail.caching.entry import Entry
from keyrail.caching.fold import Unfoldable, folded, unfolded
from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects import registry
from keyrail.dialects.canonical.answer import Answer, Candidate
from keyrail.dialects.canonical.events import Begin, CallBegin, Done, End, Event, TextPiece
from keyrail.dialects.canonical.parts import Call, Document, Image, Part, Refusal, Text, Thinking

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=600)
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, WORDS),
    st.builds(Refusal, WORDS),
    st.builds(Thinking, WORDS, st.just("s"), st.just("anthropic")),
    st.builds(Thinking, WORDS, id=st.just("rs_1")),
    st.just(Thinking(seal="s", seal_kind="anthropic-redacted", redacted=True)),
    st.builds(Call, st.sampled_from(["c1", "c2"]), st.just("f"), st.just('{"x": 1}')),
    st.just(Call("c", "none")),
    st.just(Image("image/png", "aGk=")),
)
USAGE = Usage(input_tokens=7, output_tokens=5)


def whole(*parts: Part, finish: Any = "stop") -> Answer:
    return Answer(id="x", model="gpt-x", created=1, candidates=[Candidate(list(parts), finish)], usage=USAGE)


@settings(max_examples=60, deadline=None)
@given(st.lists(PARTS, max_size=4))
def test_told_as_a_stream_and_put_together_again_it_is_the_same(parts: list[Part]) -> None:
    answer = whole(*parts)
    assert folded(unfolded(answer)) == answer


@settings(max_examples=60, deadline=None)
@given(st.lists(PARTS, max_size=4))
def test_kept_and_taken_out_it_is_the_same_but_for_id_and_time(parts: list[Part]) -> None:
    kept = entry.of_answer(whole(*parts), made_ms=5, ttl_s=2, cost_usd=Decimal("0.1"))
    packed = kept.pack()
    assert packed is not None
    back = Entry.unpack(packed)
    assert (back.cost_usd, back.made_ms, back.expires_ms) == (Decimal("0.1"), 5, 2005)
    answer = entry.answer_of(back, "openai-chat", id="new", now_ms=9_000)
    assert answer.candidates == whole(*parts).candidates
    assert (answer.id, answer.created, answer.model, answer.usage) == ("chatcmpl-new", 9, "gpt-x", USAGE)


ANSWER = whole(Thinking("hmm"), Text("Paris " * 100), Call("call_1", "f", '{"x": 1}'), finish="tool_calls")
CHAT_FACTS = Facts(model="gpt-x", include_usage=True)


def kept() -> Entry:
    return entry.of_answer(ANSWER, made_ms=5, ttl_s=2, cost_usd=None)


def shown(facts: Facts, request: dict[str, Any] | None = None) -> bytes:
    return entry.rendered(kept(), facts, request, id="0123", now_ms=9_000)


def test_a_chat_client_reads_it_streamed_or_not() -> None:
    plain = parse(shown(CHAT_FACTS))
    streamed = assembled(shown(CHAT_FACTS.replace(stream=True)))
    for answer in (plain, streamed):
        assert (answer.id, answer.created, answer.model) == ("chatcmpl-0123", 9, "gpt-x")
        message = answer.choices[0].message
        assert message.content == "Paris " * 100
        assert message.tool_calls is not None
        assert message.tool_calls[0].id == "call_1"
        assert message.tool_calls[0].function.arguments == '{"x": 1}'  # pyright: ignore
        assert answer.choices[0].finish_reason == "tool_calls"
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 5)


def test_a_responses_client_reads_it_streamed_or_not() -> None:
    facts = Facts(model="gpt-x", dialect="openai-responses", include_usage=True)
    asked = {"model": "gpt-x", "input": "hi"}
    plain = answer_of(shown(facts, asked))
    _, streamed = accumulate(stream_of(shown(facts.replace(stream=True), asked)))
    for response in (plain, streamed):
        assert response.id == "resp_0123"
        assert response.output_text == "Paris " * 100
        (call,) = [item for item in response.output if item.type == "function_call"]
        assert (call.call_id, call.arguments) == ("call_1", '{"x": 1}')
        assert response.usage is not None
        assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 5)


def test_an_anthropic_stream_and_answer_say_the_same() -> None:
    facts = Facts(model="gpt-x", dialect="anthropic-messages")
    outbound = registry.outbound("anthropic-messages")
    plain = outbound.parse_answer(shown(facts), "p")
    reader = outbound.reader("p")
    streamed = folded([*reader.feed(shown(facts.replace(stream=True))), *reader.end()])
    assert isinstance(plain, Answer)
    for answer in (plain, streamed):
        assert answer.id == "msg_0123"
        texts = [part.text for part in answer.candidates[0].parts if isinstance(part, Text)]
        assert texts == ["Paris " * 100]
        assert answer.candidates[0].finish == "tool_calls"


@pytest.mark.parametrize(
    "events",
    [
        [Begin(), TextPiece("a"), End("stop")],
        [Begin(), TextPiece("a", candidate=1), End("stop"), Done()],
        [],
    ],
    ids=["no end", "two candidates", "nothing"],
)
def test_what_is_no_one_whole_answer_is_not_folded(events: list[Event]) -> None:
    with pytest.raises(Unfoldable):
        folded(events)


def test_interleaved_calls_are_put_together_by_their_position() -> None:
    events = [CallBegin(0, "a", "f"), CallBegin(1, "b", "g")]
    pieces = [fold.ArgumentsPiece(0, "{"), fold.ArgumentsPiece(1, "[]"), fold.ArgumentsPiece(0, "}")]
    answer = folded([Begin(), *events, *pieces, End("tool_calls"), Done()])
    assert answer.candidates[0].parts == [Call("a", "f", "{}"), Call("b", "g", "[]")]


def test_what_is_too_large_is_no_entry() -> None:
    import random

    noise = "".join(map(chr, random.Random(1).choices(range(0x4E00, 0x9FFF), k=400_000)))
    assert entry.of_answer(whole(Text(noise)), made_ms=0, ttl_s=1, cost_usd=None).pack() is None


@pytest.mark.parametrize("packed", [b"", b"nonsense", entry.zlib.compress(b"{}")])
def test_bytes_that_are_no_entry_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Entry.unpack(packed)


def test_a_part_that_a_newer_worker_kept_is_refused() -> None:
    newer = kept().replace(parts=(("Hologram", {}),))
    with pytest.raises(ValueError, match="Hologram"):
        entry.rendered(newer, CHAT_FACTS, None, id="x", now_ms=1)
    with pytest.raises(Unfoldable):
        unfolded(whole(Document()))
