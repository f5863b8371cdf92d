"""https://platform.openai.com/docs/api-reference"""

from keyrail.providers.base import Provider

PROVIDER = Provider(
    name="openai",
    base_url="https://api.openai.com/v1",
    speaks=("openai-responses", "openai-embeddings"),
    env=("OPENAI_API_KEY",),
    # gpt-oss are open weights that others serve.
    owns=(r"gpt-(?!oss)", r"chatgpt-", r"o[1-9](-|$)", r"ft:(gpt|o[1-9])-", r"codex-", r"text-embedding-"),
    cancelled="stops-billing",
)
