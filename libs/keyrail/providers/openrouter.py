"""https://openrouter.ai/docs/api-reference

Usage: `cost` is what is billed; with the account's own provider key the provider's bill stands beside it. A
body
with `error`, or null choices, can come with a 200. Comment lines keep a stream alive.
"""

from keyrail.providers.base import Provider, Quirks

PROVIDER = Provider(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1",
    speaks=("openai-responses", "anthropic-messages", "openai-embeddings"),
    env=("OPENROUTER_API_KEY",),
    quirks=Quirks(takes=("cache_control", "reasoning_details"), thoughts="reasoning"),
    reports_cost=True,
    key_path="key",
)
