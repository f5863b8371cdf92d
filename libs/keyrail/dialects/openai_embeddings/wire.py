"""The provider's half of this dialect."""

from keyrail.dialects.openai_chat.errors import classify
from keyrail.dialects.openai_embeddings.answer import read_answer
from keyrail.dialects.openai_embeddings.request import none_at, prepare

__all__ = ["classify", "none_at", "prepare", "read_answer"]
