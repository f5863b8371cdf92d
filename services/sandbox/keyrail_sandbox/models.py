"""The list of models, in each provider's shape. It never changes."""

from __future__ import annotations

import msgspec

from keyrail_sandbox.behaviour import MODELS

_CREATED = 1_750_000_000  # any fixed instant
_CREATED_AT = "2025-06-15T15:06:40Z"
_WINDOW, _MOST_TOKENS = 1_000_000, 1_000_000
_METHODS = ["generateContent", "countTokens", "embedContent", "batchEmbedContents"]

OPENAI = msgspec.json.encode(
    {
        "object": "list",
        "data": [{"id": m, "object": "model", "created": _CREATED, "owned_by": "sandbox"} for m in MODELS],
    }
)
ANTHROPIC = msgspec.json.encode(
    {
        "data": [
            {
                "type": "model",
                "id": m,
                "display_name": m,
                "created_at": _CREATED_AT,
                "max_input_tokens": _WINDOW,
                "max_tokens": _MOST_TOKENS,
                "lifecycle": "active",
            }
            for m in MODELS
        ],
        "has_more": False,
        "first_id": MODELS[0],
        "last_id": MODELS[-1],
    }
)
GEMINI = msgspec.json.encode(
    {
        "models": [
            {
                "name": f"models/{m}",
                "version": "1",
                "displayName": m,
                "inputTokenLimit": _WINDOW,
                "outputTokenLimit": _MOST_TOKENS,
                "supportedGenerationMethods": _METHODS,
            }
            for m in MODELS
        ]
    }
)
