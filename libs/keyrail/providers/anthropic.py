"""https://docs.claude.com/en/api/messages

Usage: `input_tokens` leaves cached tokens out; a stream counts in `message_start` and `message_delta`.
"""

from keyrail.providers.base import Provider

PROVIDER = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com",
    dialect="anthropic-messages",
    auth="x-api-key",
    env=("ANTHROPIC_API_KEY",),
    owns=(r"claude-",),
    cancelled="stops-billing",
)
