"""https://console.groq.com/docs/api-reference"""

from keyrail.providers.base import Provider, Quirks

PROVIDER = Provider(
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    env=("GROQ_API_KEY",),
    quirks=Quirks(drop_message_nulls=True),  # a null function_call in the history is refused
)
