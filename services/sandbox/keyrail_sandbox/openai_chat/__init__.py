"""OpenAI's chat completions."""

from keyrail_sandbox.dialect import Dialect
from keyrail_sandbox.openai_chat.answer import whole
from keyrail_sandbox.openai_chat.request import read
from keyrail_sandbox.openai_chat.stream import events
from keyrail_sandbox.openai_errors import error

__all__ = ["CHAT", "error", "events", "read", "whole"]

CHAT = Dialect(read, error, whole, events)
