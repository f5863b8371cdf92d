"""The provider's half of this dialect. No client speaks it, so there is nothing to pass as it is."""

from keyrail.dialects.gemini_generate.answer import parse_answer
from keyrail.dialects.gemini_generate.errors import classify
from keyrail.dialects.gemini_generate.outbound import write_request
from keyrail.dialects.gemini_generate.reader import reader

__all__ = ["classify", "parse_answer", "reader", "write_request"]
