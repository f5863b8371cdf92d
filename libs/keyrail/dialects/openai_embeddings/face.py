"""The client's half of this dialect."""

from keyrail.dialects.openai_chat.errors import render
from keyrail.dialects.openai_embeddings.answer import render_answer
from keyrail.dialects.openai_embeddings.request import check, facts, read_request

__all__ = ["check", "facts", "read_request", "render", "render_answer"]
