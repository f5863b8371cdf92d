"""https://docs.mistral.ai/api

Refuses every field that it does not know, with a 422. Usage is always in the last chunk.
"""

from keyrail.providers.base import Provider, Quirks

PROVIDER = Provider(
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    speaks=("openai-embeddings",),
    env=("MISTRAL_API_KEY",),
    owns=(
        r"(open-)?(mistral|mixtral)-",
        r"(codestral|ministral|magistral|pixtral|devstral|voxtral|mathstral)-",
    ),
    quirks=Quirks(
        allow=(
            "model",
            "messages",
            "stream",
            "max_tokens",
            "random_seed",
            "temperature",
            "top_p",
            "top_k",
            "min_tokens",
            "n",
            "stop",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "response_format",
            "prediction",
            "safe_prompt",
            "prompt_mode",
            "reasoning_effort",
            "guardrails",
            "prompt_cache_key",
            "service_tier",
            "metadata",
            # of embeddings
            "input",
            "encoding_format",
            "output_dimension",
            "output_dtype",
        ),
        rename={
            "max_completion_tokens": "max_tokens",
            "seed": "random_seed",
            "dimensions": "output_dimension",
        },
        send_stream_options=False,
        roles={"developer": "system"},
        drop_in_messages=("name", "refusal", "reasoning_content", "reasoning"),
        short_call_ids=True,
    ),
    cancelled="bills-whole",
)
