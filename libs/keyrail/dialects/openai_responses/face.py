"""The half of the dialect that faces clients."""

from keyrail.dialects.openai_responses.answer import render_answer
from keyrail.dialects.openai_responses.errors import render, render_event
from keyrail.dialects.openai_responses.inbound import read_request
from keyrail.dialects.openai_responses.request import check, facts
from keyrail.dialects.openai_responses.writer import writer

__all__ = ["check", "facts", "read_request", "render", "render_answer", "render_event", "writer"]
