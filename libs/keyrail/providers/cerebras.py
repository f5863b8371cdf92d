"""https://inference-docs.cerebras.ai/api-reference/chat-completions

Refuses every field that it does not know, hence the list. Errors are flat, without an `error` object.
"""

from keyrail.providers.base import Provider, Quirks

PROVIDER = Provider(
    name="cerebras",
    base_url="https://api.cerebras.ai/v1",
    env=("CEREBRAS_API_KEY",),
    quirks=Quirks(
        allow=(
            "messages",
            "model",
            "max_completion_tokens",
            "max_tokens",
            "min_completion_tokens",
            "min_tokens",
            "temperature",
            "top_p",
            "frequency_penalty",
            "presence_penalty",
            "logprobs",
            "top_logprobs",
            "logit_bias",
            "stop",
            "seed",
            "n",
            "user",
            "stream",
            "stream_options",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "response_format",
            "prediction",
            "prompt_cache_key",
            "service_tier",
            "reasoning_effort",
            "reasoning_format",
            "clear_thinking",
            "disable_reasoning",
        ),
        thoughts="reasoning",  # reasoning_content is refused
        drop_in_messages=("reasoning_content",),
    ),
)
