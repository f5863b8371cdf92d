"""Gemini's generateContent, whole and streamed, its counting of tokens and its embeddings."""

from keyrail_sandbox.dialect import Dialect
from keyrail_sandbox.gemini_generate.answer import count, whole
from keyrail_sandbox.gemini_generate.embeddings import batch, embedding, read_batch, read_embedding
from keyrail_sandbox.gemini_generate.errors import error
from keyrail_sandbox.gemini_generate.request import read, read_count
from keyrail_sandbox.gemini_generate.stream import events

__all__ = ["BATCH_EMBED", "COUNT_TOKENS", "EMBED", "GENERATE", "error", "events", "read", "whole"]

GENERATE = Dialect(read, error, whole, events, within=frozenset({"policy"}))
COUNT_TOKENS = Dialect(read_count, error, count)
EMBED = Dialect(read_embedding, error, embedding)
BATCH_EMBED = Dialect(read_batch, error, batch)
