"""The half of the dialect that faces providers."""

from keyrail.dialects.openai_responses.answer import parse_answer
from keyrail.dialects.openai_responses.errors import classify
from keyrail.dialects.openai_responses.outbound import write_request
from keyrail.dialects.openai_responses.passing import passing
from keyrail.dialects.openai_responses.reader import reader
from keyrail.dialects.openai_responses.request import prepare

__all__ = ["classify", "parse_answer", "passing", "prepare", "reader", "write_request"]
