"""https://deepinfra.com/docs/openai_api

Usage: `estimated_cost` in US dollars is what is billed. The price catalogue does not have this provider.
"""

from keyrail.providers.base import Provider, Quirks

PROVIDER = Provider(
    name="deepinfra",
    base_url="https://api.deepinfra.com/v1/openai",
    speaks=("openai-embeddings",),
    env=("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
    quirks=Quirks(
        rename={"max_completion_tokens": "max_tokens"},
        roles={"developer": "system"},  # answered with 422
        text_results=True,
        thoughts="reasoning_content",
    ),
    models=(
        "deepseek-ai/DeepSeek-V3.2",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "moonshotai/Kimi-K2-Instruct-0905",
        "openai/gpt-oss-120b",
        "Qwen/Qwen3-235B-A22B-Instruct-2507",
    ),
    reports_cost=True,
    key_path="../me/rate_limit",
    cancelled="stops-billing",
)
