from __future__ import annotations

from typing import Any

import pytest

from keyrail.contracts.slips import Dialect, Facts
from keyrail.dialects import conversation
from keyrail.dialects.anthropic_messages import request as messages
from keyrail.dialects.openai_chat import request as chat
from keyrail.dialects.openai_responses import request as responses

TURNS = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "yes?"},
    {"role": "user", "content": [{"type": "text", "text": "tell me"}, {"type": "text", "text": "more"}]},
]


def facts(dialect: Dialect, turns: list[dict[str, Any]], system: str | None = None) -> Facts:
    if dialect == "openai-chat":
        first = [{"role": "system", "content": system}] if system else []
        return chat.facts({"model": "m", "messages": [*first, *turns]})
    if dialect == "anthropic-messages":
        body: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": turns}
        return messages.facts(body | ({"system": [{"type": "text", "text": system}]} if system else {}))
    return responses.facts({"model": "m", "input": turns} | ({"instructions": system} if system else {}))


DIALECTS: tuple[Dialect, ...] = ("openai-chat", "anthropic-messages", "openai-responses")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_all_turns_of_a_conversation_have_one_name_and_others_another(dialect: Dialect) -> None:
    name = facts(dialect, TURNS[:1], "be kind").conversation
    assert name is not None
    assert len(name) == 16
    assert facts(dialect, TURNS, "be kind").conversation == name
    assert facts(dialect, TURNS, "be brief").conversation != name
    assert facts(dialect, TURNS).conversation != name
    assert facts(dialect, [{"role": "user", "content": "hello?"}], "be kind").conversation != name


def test_the_same_words_have_the_same_name_in_every_dialect() -> None:
    assert len({facts(dialect, TURNS, "be kind").conversation for dialect in DIALECTS}) == 1
    assert (
        responses.facts({"model": "m", "input": "hello"}).conversation
        == facts("openai-chat", TURNS[:1]).conversation
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_the_user_asked_last_is_found(dialect: Dialect) -> None:
    key = "input" if dialect == "openai-responses" else "messages"
    assert conversation.asked(dialect, {key: TURNS}) == "tell me\nmore"
    assert conversation.asked(dialect, {key: [*TURNS, {"role": "tool", "content": "42"}]}) == "tell me\nmore"
    for nothing in ([], [{"role": "user", "content": [{"type": "image"}]}], None, [1, "x"]):
        assert conversation.asked(dialect, {key: nothing}) == ""


def test_a_request_for_json_is_told_from_others() -> None:
    def asked(form: dict[str, Any] | None) -> tuple[bool, bool]:
        found = chat.facts({"model": "m", "messages": TURNS[:1], "response_format": form})
        other = responses.facts({"model": "m", "input": "x", "text": {"format": form}})
        assert (found.json_mode, found.json_schema) == (other.json_mode, other.json_schema)
        return found.json_mode, found.json_schema

    assert asked(None) == asked({"type": "text"}) == (False, False)
    assert asked({"type": "json_object"}) == (True, False)
    assert asked({"type": "json_schema"}) == (True, True)
