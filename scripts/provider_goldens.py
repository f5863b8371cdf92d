"""Write what becomes of one chat request for each provider, and what an answer costs, to the goldens of the
tests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.dialects import registry as dialects
from keyrail.dialects import ways
from keyrail.pricing import catalogue
from keyrail.pricing.cost import price
from keyrail.providers import endpoint, registry

FOLDER = Path(__file__).parents[1] / "tests/contract/golden/providers"
AT_MS = 1_795_435_200_000  # 2026-11-23T12:00Z: prices change
MODELS = {
    "openai": "gpt-5.4-mini",
    "anthropic": "claude-sonnet-5-5",
    "gemini": "gemini-3.8-flash",
    "groq": "openai/gpt-oss-120b",
    "cerebras": "gpt-oss-120b",
    "mistral": "mistral-large-4",
    "xai": "grok-4.7",
    "openrouter": "anthropic/claude-sonnet-5.5",
}
REQUEST: dict[str, Any] = {
    "model": "quick",
    "messages": [
        {"role": "developer", "content": "Answer in one sentence."},
        {"role": "user", "name": "ada", "content": [{"type": "text", "text": "What is a whale?"}]},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "reasoning_content": "Look it up.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "look_up", "arguments": '{"word":"whale"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "A mammal."}]},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "look_up",
                "parameters": {
                    "type": "object",
                    "properties": {"word": {"type": "string"}},
                    "required": ["word"],
                },
            },
        }
    ],
    "stream": True,
    "max_completion_tokens": 300,
    "seed": 7,
    "user": "u-1",
    "store": True,
}
ANSWERS: dict[str, dict[str, Any]] = {
    "openai-chat": {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 1_000,
            "completion_tokens": 200,
            "total_tokens": 1_200,
            "prompt_tokens_details": {"cached_tokens": 400},
        },
    },
    "anthropic-messages": {
        "content": [{"type": "text", "text": "x"}],
        "stop_reason": "end_turn",
        "usage": {
            "input_tokens": 300,
            "cache_read_input_tokens": 400,
            "cache_creation_input_tokens": 300,
            "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
            "output_tokens": 200,
        },
    },
    "gemini-generate": {
        "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 1_000,
            "cachedContentTokenCount": 400,
            "candidatesTokenCount": 150,
            "thoughtsTokenCount": 50,
            "totalTokenCount": 1_200,
        },
    },
}
REPORTED = {
    "openrouter": {"cost": 0.0123},
    "deepinfra": {"estimated_cost": 0.0004},
    "xai": {"cost_in_usd_ticks": 7_000_000},
}
"""What providers that state their bill would put into such an answer's usage."""


def golden(name: str) -> dict[str, Any]:
    """What the file of this provider should hold."""
    provider = registry.load()[name]
    model = MODELS.get(name) or next(iter((*provider.models, *catalogue.models(name))))
    config = provider.config(provider.base_url or "http://127.0.0.1:9")
    asked = endpoint.spoken(config, "openai-chat")
    facts = Facts(model=REQUEST["model"], stream=True)
    written = ways.way(name, asked, facts, model, config.quirks, 0).request(json.dumps(REQUEST).encode())
    if isinstance(written, Failure):
        raise TypeError(written.message)
    answer = json.loads(json.dumps(ANSWERS[config.dialect]))
    if name in REPORTED:
        answer["usage"] |= REPORTED[name]
    parsed = dialects.outbound(config.dialect).parse_answer(json.dumps(answer).encode(), name)
    if isinstance(parsed, Failure):
        raise TypeError(parsed.message)
    paid = price(name, model, parsed.usage, AT_MS)
    return {
        "url": endpoint.url(config, asked, model, stream=True),
        "headers": endpoint.headers(config, asked, "the-key"),
        "dropped": list(written.dropped),
        "body": written.body,
        "price": {
            "model": model,
            "usage": answer.get("usage") or answer["usageMetadata"],
            "cost_usd": None if paid.cost_usd is None else format(paid.cost_usd, "f"),
            "source": paid.source,
        },
    }


if __name__ == "__main__":
    catalogue.load()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in registry.load():
        text = json.dumps(golden(each), indent=2, ensure_ascii=False)
        (FOLDER / f"{each}.json").write_text(text + "\n")
    sys.stdout.write(f"goldens of {len(registry.load())} providers in {FOLDER}\n")
