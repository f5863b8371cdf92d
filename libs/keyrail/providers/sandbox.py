"""This project's own provider, which costs nothing: deterministic answers, delays and faults."""

from keyrail.providers.base import Provider

PROVIDER = Provider(
    name="sandbox",
    base_url="",  # where it listens is known at run time only
    speaks=("openai-responses", "anthropic-messages", "openai-embeddings"),
    needs_key=False,
    models=(
        "echo",
        "status-429",
        "status-500",
        "stall-2s",
        "slow-20ms",
        "cut-5",
        "garbage",
        "error-200",
        "no-done",
    ),
)
