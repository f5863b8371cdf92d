"""OpenAI's Responses, without state: nothing is stored, what refers to earlier answers is refused."""

from keyrail_sandbox.dialect import Dialect
from keyrail_sandbox.openai_responses.answer import whole
from keyrail_sandbox.openai_responses.errors import error
from keyrail_sandbox.openai_responses.request import read
from keyrail_sandbox.openai_responses.stream import events

__all__ = ["RESPONSES", "error", "events", "read", "whole"]

RESPONSES = Dialect(read, error, whole, events)
