"""Anthropic's Messages, and the counting of their tokens."""

from keyrail_sandbox.anthropic_messages.answer import count, whole
from keyrail_sandbox.anthropic_messages.errors import error
from keyrail_sandbox.anthropic_messages.request import read, read_count
from keyrail_sandbox.anthropic_messages.stream import events
from keyrail_sandbox.dialect import Dialect

__all__ = ["COUNT_TOKENS", "MESSAGES", "error", "events", "read", "read_count", "whole"]

MESSAGES = Dialect(read, error, whole, events, request_id=b"request-id")
COUNT_TOKENS = Dialect(read_count, error, count, request_id=b"request-id")
