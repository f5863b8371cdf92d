"""https://docs.x.ai/docs/api-reference

Usage: `completion_tokens` of chat leaves reasoning out; `cost_in_usd_ticks` is what is billed, a tick being
1e-10
US dollars. A 200 can hold an error: `{"code", "error": "text"}`.
"""

from keyrail.providers.base import Provider, Quirks

PROVIDER = Provider(
    name="xai",
    base_url="https://api.x.ai/v1",
    speaks=("openai-responses",),
    env=("XAI_API_KEY",),
    owns=(r"grok-",),
    quirks=Quirks(drop_in_messages=("name",), thoughts="reasoning_content"),
    reports_cost=True,
    cancelled="stops-billing",
)
