"""https://console.groq.com/docs/api-reference

Usage: in the last chunk both as `x_groq.usage` and as `usage`; to be counted once.
"""

from keyrail.providers.base import Provider, Quirks

PROVIDER = Provider(
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    speaks=("openai-responses",),
    env=("GROQ_API_KEY",),
    quirks=Quirks(
        drop_message_nulls=True,  # a null function_call in the history is refused
        drop=("logprobs", "top_logprobs", "logit_bias"),  # a 400, whatever their value
        drop_in_messages=("name",),
        thoughts="reasoning",
    ),
    cancelled="bills-whole",
)
