"""https://platform.openai.com/docs/api-reference/chat"""

from keyrail.providers.base import Provider

PROVIDER = Provider(
    name="openai",
    base_url="https://api.openai.com/v1",
    env=("OPENAI_API_KEY",),
    # gpt-oss are open weights that others serve.
    owns=(r"gpt-(?!oss)", r"chatgpt-", r"o[1-9](-|$)", r"ft:(gpt|o[1-9])-", r"codex-"),
)
