from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.responses_sdk import accumulate, stream_of

from keyrail.contracts.slips import Facts
from keyrail.contracts.usage import Usage
from keyrail.dialects.canonical.answer import Finish
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
    ImagePiece,
    Ping,
    RefusalPiece,
    Seal,
    TextPiece,
    ThinkingPiece,
)
from keyrail.dialects.canonical.parts import Call, Image, Text, Thinking
from keyrail.dialects.openai_responses import face, inbound_items

FACTS = Facts(dialect="openai-responses", model="anthropic/claude", stream=True)
BEGIN = Begin("msg_01", "claude", 1_700_000_000)
USAGE = Usage(
    input_tokens=10, output_tokens=5, cache_read_tokens=4, reasoning_tokens=2, served_tier="standard"
)


def end(finish: Finish | None = "stop") -> list[Event]:
    return [End(finish), Counted(USAGE), Done()]


def write(*events: Event, request: dict[str, Any] | None = None) -> bytes:
    return face.writer(FACTS, model="m", request=request, created=7).write(list(events))


def read(data: bytes) -> list[dict[str, Any]]:
    """The events, their names and numbers checked; put together by the official client too."""
    found: list[dict[str, Any]] = []
    for block in data.decode().split("\n\n")[:-1]:
        if block.startswith(":"):
            continue
        name, _, rest = block.partition("\n")
        event = json.loads(rest.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == len(found)
        found.append(event)
    return found


def told(
    *events: Event, request: dict[str, Any] | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All events of a whole stream, and the response in the last one."""
    data = write(*events, request=request)
    found = read(data)
    assert b"[DONE]" not in data
    _, response = accumulate(stream_of(data))
    assert response.id == found[0]["response"]["id"]
    done = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    places = [event["output_index"] for event in found if event["type"] == "response.output_item.done"]
    final = found[-1]["response"]
    assert [item for _, item in sorted(zip(places, done, strict=True), key=lambda pair: pair[0])] == final[
        "output"
    ]
    return found, final


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_text_in_the_documented_order() -> None:
    found, final = told(BEGIN, TextPiece("Hel"), TextPiece("lo"), *end())
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    opened = found[0]["response"]
    assert (opened["status"], opened["output"], opened["usage"]) == ("in_progress", [], None)
    assert (final["id"], final["created_at"], final["model"]) == ("resp_msg_01", 1_700_000_000, "claude")
    assert final["output"][0]["content"] == [
        {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    ]
    assert final["usage"]["input_tokens_details"] == {"cached_tokens": 4, "cache_write_tokens": 0}
    assert (final["status"], final["service_tier"], final["store"]) == ("completed", "default", False)
    for event in found[3:8]:
        assert (event["output_index"], event["content_index"]) == (0, 0)
        assert event["item_id"] == final["output"][0]["id"]


def test_thoughts_words_and_calls_are_items_in_their_order() -> None:
    found, final = told(
        BEGIN,
        ThinkingPiece("Hm. "),
        ThinkingPiece("So."),
        Seal("sig", "anthropic"),
        Boundary(),
        TextPiece("Let me see."),
        Boundary(),
        CallBegin(0, "c1", "f"),
        ArgumentsPiece(0, '{"a":'),
        ArgumentsPiece(0, "1}"),
        Boundary(),
        CallBegin(1, "c2", "g"),
        Boundary(),
        *end("tool_calls"),
    )
    assert kinds(found)[2:] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [item["type"] for item in final["output"]] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert final["output"][0]["summary"] == [{"type": "summary_text", "text": "Hm. So."}]
    assert [item.get("arguments") for item in final["output"]] == [None, None, '{"a":1}', "{}"]
    assert final["status"] == "completed"


def test_parallel_calls_may_be_interleaved() -> None:
    _, final = told(
        BEGIN,
        CallBegin(0, "c1", "f", arguments="{"),
        CallBegin(1, "c2", "g"),
        ArgumentsPiece(1, '{"b":'),
        ArgumentsPiece(0, '"a":1}'),
        Boundary(),
        ArgumentsPiece(1, "2}"),
        *end("tool_calls"),
    )
    assert [(item["call_id"], item["arguments"], item["status"]) for item in final["output"]] == [
        ("c1", '{"a":1}', "completed"),
        ("c2", '{"b":2}', "completed"),
    ]


def test_words_between_calls_do_not_cut_the_calls() -> None:
    _, final = told(
        BEGIN, CallBegin(0, "c1", "f"), TextPiece("Wait."), ArgumentsPiece(0, '{"a":1}'), *end("tool_calls")
    )
    assert [item["type"] for item in final["output"]] == ["function_call", "message"]
    assert final["output"][0]["arguments"] == '{"a":1}'


def test_several_messages_and_thoughts_in_one_answer() -> None:
    _, final = told(
        BEGIN,
        ThinkingPiece("a"),
        TextPiece("b"),
        ThinkingPiece("c"),
        Boundary(),
        ThinkingPiece("d"),
        TextPiece("e"),
        Boundary(),
        TextPiece("f"),
        *end(),
    )
    assert [item["type"] for item in final["output"]] == [
        "reasoning",
        "message",
        "reasoning",
        "reasoning",
        "message",
        "message",
    ]


def test_a_refusal_is_a_part_of_the_message() -> None:
    found, final = told(BEGIN, TextPiece("Well. "), RefusalPiece("I can"), RefusalPiece("not."), *end())
    assert [part["type"] for part in final["output"][0]["content"]] == ["output_text", "refusal"]
    assert final["output"][0]["content"][1]["refusal"] == "I cannot."
    assert [event["content_index"] for event in found if event["type"] == "response.refusal.delta"] == [1, 1]


def test_foreign_seals_travel_beside_what_they_seal_and_come_back() -> None:
    _, final = told(
        BEGIN,
        ThinkingPiece("Hm."),
        Seal("sig", "anthropic"),
        Seal("xyz", "anthropic-redacted", redacted=True),
        Seal("abc", "openrouter", raw={"type": "reasoning.encrypted", "data": "abc"}),
        TextPiece("Hi"),
        TextPiece("", seal="gem-1"),
        CallBegin(0, "c1", "f", seal="gem-2"),
        CallBegin(1, "c2", "g"),
        ImagePiece(Image(media_type="image/png", data="QUJD", seal="gem-3")),
        *end("tool_calls"),
    )
    turns = inbound_items.Turns()
    turns.read(final["output"])
    assert turns.messages[0].parts == [
        Thinking("Hm.", seal="sig", seal_kind="anthropic"),
        Thinking(seal="xyz", seal_kind="anthropic-redacted", redacted=True),
        Thinking(seal="abc", seal_kind="openrouter", raw={"type": "reasoning.encrypted", "data": "abc"}),
        Text("Hi", seal="gem-1"),
        Call("c1", "f", "{}", seal="gem-2"),
        Call("c2", "g", "{}"),
        Image(media_type="image/png", data="QUJD", seal="gem-3"),
    ]


def test_a_seal_on_the_first_words_stands_before_them() -> None:
    _, final = told(BEGIN, TextPiece("Hi", seal="gem-1"), *end())
    assert [item["type"] for item in final["output"]] == ["reasoning", "message"]
    turns = inbound_items.Turns()
    turns.read(final["output"])
    assert turns.messages[0].parts == [Text("Hi", seal="gem-1")]


def test_openais_own_seal_stays_as_it_is() -> None:
    _, final = told(
        BEGIN, ThinkingPiece("Hm.", id="rs_1"), Seal("gAAAA", "openai", id="rs_1"), Boundary(), *end()
    )
    assert final["output"] == [
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAAA",
        }
    ]


@pytest.mark.parametrize(
    ("finish", "status", "reason", "last"),
    [
        ("stop", "completed", None, "completed"),
        ("pause", "completed", None, "completed"),
        (None, "completed", None, "completed"),
        ("length", "incomplete", "max_output_tokens", "incomplete"),
        ("context", "incomplete", "max_output_tokens", "incomplete"),
        ("content_filter", "incomplete", "content_filter", "incomplete"),
        ("error", "failed", None, "completed"),
    ],
)
def test_the_last_event_says_how_it_ended(finish: Any, status: str, reason: str | None, last: str) -> None:
    found, final = told(BEGIN, TextPiece("Hel"), *end(finish))
    assert kinds(found)[-1] == final["status"] == status
    assert (final["incomplete_details"] or {}).get("reason") == reason
    assert final["output"][0]["status"] == last
    if status == "failed":
        assert final["error"]["code"] == "server_error"


def test_a_call_that_was_cut_off_is_incomplete() -> None:
    _, final = told(BEGIN, CallBegin(0, "c1", "f"), ArgumentsPiece(0, '{"a":'), *end("length"))
    assert (final["output"][0]["arguments"], final["output"][0]["status"]) == ('{"a":', "incomplete")


def test_custom_calls_with_and_without_a_provider_that_knows_them() -> None:
    request = {"model": "m", "input": "x", "tools": [{"type": "custom", "name": "patch"}]}
    found, final = told(
        BEGIN,
        CallBegin(0, "c1", "patch"),
        ArgumentsPiece(0, '{"input":"*** '),
        ArgumentsPiece(0, 'Begin"}'),
        Boundary(),
        CallBegin(1, "c2", "other", custom=True),
        ArgumentsPiece(1, "free"),
        *end("tool_calls"),
        request=request,
    )
    assert [(item["type"], item["input"]) for item in final["output"]] == [
        ("custom_tool_call", "*** Begin"),
        ("custom_tool_call", "free"),
    ]
    deltas = [event["delta"] for event in found if event["type"] == "response.custom_tool_call_input.delta"]
    assert deltas == ["*** Begin", "free"]


def test_the_response_repeats_the_request() -> None:
    request = {"model": "m", "input": "x", "instructions": "Be brief.", "tool_choice": "none", "store": True}
    found, final = told(BEGIN, *end(), request=request)
    for response in (found[0]["response"], found[1]["response"], final):
        assert (response["instructions"], response["tool_choice"], response["store"]) == (
            "Be brief.",
            "none",
            False,
        )


def test_a_stream_without_an_identity_gets_one_that_is_always_the_same() -> None:
    first = write(TextPiece("Hi"), *end())
    assert first == write(TextPiece("Hi"), *end())
    response = read(first)[0]["response"]
    assert response["id"].startswith("resp_")
    assert (response["model"], response["created_at"]) == ("m", 7)


def test_pings_are_comments_and_other_candidates_are_not_shown() -> None:
    data = write(BEGIN, Ping(), TextPiece("a"), TextPiece("b", candidate=1), End("stop", candidate=1), *end())
    assert data.count(b": ping\n\n") == 1
    assert read(data)[-1]["response"]["output"][0]["content"][0]["text"] == "a"


def test_nothing_follows_the_end() -> None:
    writer = face.writer(FACTS, model="m")
    writer.write([BEGIN, *end()])
    assert writer.write([TextPiece("x"), Ping(), Done()]) == b""


def test_log_probabilities_and_citations_are_with_the_words() -> None:
    logprob = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
    cited = {"type": "web_search_result_location", "url": "https://e.org", "title": "E"}
    found, final = told(
        BEGIN, TextPiece("Hi", logprobs=[logprob]), CitationPiece(cited), CitationPiece({"type": "x"}), *end()
    )
    part = final["output"][0]["content"][0]
    assert part["logprobs"] == [logprob]
    assert part["annotations"] == [
        {"type": "url_citation", "url": "https://e.org", "title": "E", "start_index": 0, "end_index": 2}
    ]
    assert kinds(found).count("output_text.annotation.added") == 1


def test_what_codex_reads_is_enough_for_it() -> None:
    found, _ = told(
        BEGIN,
        ThinkingPiece("Hm."),
        Seal("sig", "anthropic"),
        Boundary(),
        TextPiece("Hi"),
        Boundary(),
        CallBegin(0, "c1", "shell"),
        ArgumentsPiece(0, '{"command":["ls"]}'),
        *end("tool_calls"),
    )
    items = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert items[0]["encrypted_content"].startswith("krs1.anthropic.")
    assert items[1]["content"][0]["text"] == "Hi"
    assert (items[2]["call_id"], items[2]["name"], items[2]["arguments"]) == (
        "c1",
        "shell",
        '{"command":["ls"]}',
    )
    completed = found[-1]
    assert completed["type"] == "response.completed"
    assert completed["response"]["id"]
    assert completed["response"]["usage"]["total_tokens"] == 15


def test_an_id_that_comes_twice_is_used_once() -> None:
    _, final = told(
        BEGIN, ThinkingPiece("a", id="rs_1"), Boundary(), ThinkingPiece("b", id="rs_1"), Boundary(), *end()
    )
    assert len({item["id"] for item in final["output"]}) == 2


texts = st.text(max_size=5)
pieces = st.one_of(
    st.builds(TextPiece, texts, seal=st.none() | st.just("s")),
    st.builds(RefusalPiece, texts),
    st.builds(ThinkingPiece, texts, id=st.none() | st.sampled_from(["rs_1", "rs_2", "x"])),
    st.builds(Seal, texts, st.sampled_from(["anthropic", "openai", "gemini"]), redacted=st.booleans()),
    st.builds(ArgumentsPiece, st.integers(0, 2), texts),
    st.builds(CitationPiece, st.just({"url": "u"})),
    st.just(Boundary()),
    st.just(Ping()),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(pieces, max_size=10), st.sampled_from(["stop", "length", "error", None]), st.data())
def test_whatever_comes_the_official_client_can_put_it_together(
    events: list[Event], finish: Finish | None, data: st.DataObject
) -> None:
    calls = [
        CallBegin(position, f"c{position}", "f", seal=data.draw(st.none() | st.just("s")))
        for position in range(3)
    ]
    for call in calls:
        events.insert(data.draw(st.integers(0, len(events))), call)
    told(BEGIN, *events, *end(finish))
