"""Paths: any reasonable base URL leads to the right dialect."""

from __future__ import annotations

import pytest

from keyrail_sandbox import (
    anthropic_messages,
    gemini_generate,
    openai_chat,
    openai_embeddings,
    openai_responses,
)
from keyrail_sandbox.routes import is_googles, lists_models, route

BASES = (
    "",
    "/v1",
    "/v1/v1",
    "/openai/v1",
    "/api/v1",
    "/anthropic",
    "/v1beta",
    "/v1/v1beta",
    "/v1beta/openai",
)


@pytest.mark.parametrize("base", BASES)
def test_every_base_url_leads_to_every_dialect(base: str) -> None:
    for path, dialect in (
        ("/chat/completions", openai_chat.CHAT),
        ("/responses", openai_responses.RESPONSES),
        ("/embeddings", openai_embeddings.EMBEDDINGS),
        ("/messages", anthropic_messages.MESSAGES),
        ("/messages/count_tokens", anthropic_messages.COUNT_TOKENS),
        ("/models/echo:generateContent", gemini_generate.GENERATE),
        ("/models/echo:countTokens", gemini_generate.COUNT_TOKENS),
        ("/models/echo:embedContent", gemini_generate.EMBED),
        ("/models/echo:batchEmbedContents", gemini_generate.BATCH_EMBED),
    ):
        found = route(base + path, b"")
        assert found is not None, base + path
        assert found.dialect is dialect
    assert lists_models(base + "/models")


def test_googles_path_says_model_and_manner() -> None:
    found = route("/v1beta/models/chunks-3+slow-1ms:streamGenerateContent", b"alt=sse&key=x")
    assert found is not None
    assert (found.came.model, found.came.stream, found.came.sse) == ("chunks-3+slow-1ms", True, True)
    plain = route("/v1beta/models/echo:generateContent", b"")
    assert plain is not None
    assert (plain.came.stream, plain.came.sse) == (False, False)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/chat",
        "/v1/models/echo",
        "/models/echo:explode",
        "/x/chat/completions",
        "/:generateContent",
    ],
)
def test_other_paths_lead_nowhere(path: str) -> None:
    assert route(path, b"") is None


def test_googles_paths_are_known() -> None:
    assert is_googles("/v1beta/models")
    assert not is_googles("/v1/models")
