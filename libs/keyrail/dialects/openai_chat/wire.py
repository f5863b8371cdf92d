"""The dialect as providers speak it: what keyrail.dialects.protocols.Wire asks for."""

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Written
from keyrail.dialects.openai_chat.completion import parse_answer
from keyrail.dialects.openai_chat.errors import classify
from keyrail.dialects.openai_chat.fitting import fit
from keyrail.dialects.openai_chat.outbound import write_request
from keyrail.dialects.openai_chat.passing import passing
from keyrail.dialects.openai_chat.reader import reader

__all__ = ["classify", "parse_answer", "passing", "prepare", "reader", "write_request"]


def prepare(body: bytes, *, model: str, quirks: Quirks) -> Written | Failure:
    """The body of a chat client: the provider's name of the model, usage asked for in streams, its quirks.

    Raises ValueError for a body that is no JSON object.
    """
    value = json_text.parse(body)
    if type(value) is not dict:
        raise ValueError("it is not an object")
    return fit(cast("dict[str, Any]", value), model=model, quirks=quirks)
