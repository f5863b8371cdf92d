"""The dialect as clients speak it: what keyrail.dialects.protocols.Face asks for."""

from keyrail.dialects.openai_chat.completion import render_answer
from keyrail.dialects.openai_chat.errors import render, render_event
from keyrail.dialects.openai_chat.inbound import read_request
from keyrail.dialects.openai_chat.request import check, facts
from keyrail.dialects.openai_chat.writer import writer

__all__ = ["check", "facts", "read_request", "render", "render_answer", "render_event", "writer"]
