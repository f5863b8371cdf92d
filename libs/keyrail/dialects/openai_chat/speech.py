"""What an assistant says: the parts of its message, be it in a client's history or in a provider's answer."""

from __future__ import annotations

from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects import loose
from keyrail.dialects.canonical.parts import Call, Foreign, Image, Part, Refusal, Text, Thinking
from keyrail.dialects.openai_chat import media, thoughts, tools


def read(message: dict[str, Any], *, place: str, from_provider: bool) -> list[Part]:
    """All parts: thoughts, words, refusals, images, calls. Calls that name no tool are left out.

    `place` is where the message stands, for ids of calls that have none.
    """
    thinking = thoughts.read(message, from_provider=from_provider)
    content = message.get("content")
    spoken: list[Part] = []
    if type(content) is str:
        if content:
            spoken.append(Text(content, cache=tools.read_cache(message)))
    else:
        spoken = [part for value in loose.items(content) for part in _parts(loose.fields(value))]
        if thinking:
            spoken = [part for part in spoken if not isinstance(part, Thinking)]
    _sign(spoken, thoughts.signature_of(message))
    parts: list[Part] = [*thinking, *spoken]
    if (refusal := loose.text(message.get("refusal"))) is not None:
        parts.append(Refusal(refusal))
    parts += images_of(message)
    parts += [call for call in calls_of(message, place) if call is not None]
    return parts


def _sign(parts: list[Part], seal: str | None) -> None:
    if seal is None:
        return
    last = next((part for part in reversed(parts) if isinstance(part, Text)), None)
    if last is None:
        parts.append(Text("", seal=seal))
    else:
        last.seal = seal


def _parts(part: dict[str, Any]) -> list[Part]:
    kind = part.get("type")
    if kind in ("text", "output_text"):
        words = loose.text(part.get("text"))
        return [Text(words, cache=tools.read_cache(part))] if words is not None else []
    if kind == "thinking":  # Mistral
        words = thoughts.plain({"reasoning": part.get("thinking")})
        return [Thinking(words)] if words else []
    if kind == "refusal":
        words = loose.text(part.get("refusal"))
        return [Refusal(words)] if words is not None else []
    if kind == "image_url":
        image = media.read_image("", part)
        return [] if isinstance(image, Failure) else [image]
    if kind == "reference":  # Mistral: numbers of sources, no words
        return []
    return [Foreign(kind, part)] if type(kind) is str else []


def images_of(message: dict[str, Any]) -> list[Image]:
    """What the model drew, in OpenRouter's convention."""
    found: list[Image] = []
    for value in loose.items(message.get("images")):
        image = media.read_image("", loose.fields(value))
        if isinstance(image, Image):
            image.seal = thoughts.signature_of(loose.fields(value))
            found.append(image)
    return found


def calls_of(message: dict[str, Any], place: str) -> list[Call | None]:
    """The calls in their order, None for one that names no tool; the one way to call of earlier days too."""
    found = [
        tools.read_call(loose.fields(value), place=f"{place}.{index}")
        for index, value in enumerate(loose.items(message.get("tool_calls")))
    ]
    if not found and type(message.get("function_call")) is dict:
        found.append(tools.read_call({"function": message["function_call"]}, place=place))
    return found
