"""A request in the canonical form, written for this provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import Image
from keyrail.dialects.canonical.request import Format, Request, Written, refused
from keyrail.dialects.gemini_generate.thinking import thinking_of
from keyrail.dialects.gemini_generate.tools import write_tools
from keyrail.dialects.gemini_generate.turns import Refused, Turns

_MOST_STOPS = 5
_SEEDS = 2**31
_TIERS = frozenset({"flex", "standard", "priority"})
_USUAL_TIERS = frozenset({"auto", "default"})
_NAMES = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
}
_LEFT_OUT = {
    "verbosity": "verbosity",
    "user": "user",
    "cache_key": "prompt_cache_key",
    "cache": "cache_control",
    "metadata": "metadata",
}
_RESOLUTIONS = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}


def write_request(request: Request, *, model: str, quirks: Quirks) -> Written | Failure:
    """The body for this model. Whether it is a stream is said by the address that it is sent to.

    `quirks.drop` counts for the body and for its generationConfig.
    """
    turns = Turns(model)
    try:
        turns.read(request.messages)
    except Refused as refusal:
        return refusal.failure
    if not turns.contents:
        return refused("messages", "This conversation holds nothing that the model could answer.")
    dropped = dict.fromkeys(request.dropped) | turns.dropped
    body: dict[str, Any] = {"contents": turns.contents}
    if turns.instruction:
        body["systemInstruction"] = {"parts": turns.instruction}
    config = _generation(request, model, dropped)
    if isinstance(config, Failure):
        return config
    if (problem := write_tools(request, body, dropped)) is not None:
        return problem
    if config:
        body["generationConfig"] = config
    _tier(request, body, dropped)
    for name, named in _LEFT_OUT.items():
        if getattr(request, name) is not None:
            dropped[named] = None
    for name in quirks.drop:
        if body.pop(name, None) is not None or config.pop(name, None) is not None:
            dropped[name] = None
    return Written(body=body, dropped=tuple(dropped))


def _generation(request: Request, model: str, dropped: dict[str, None]) -> dict[str, Any] | Failure:
    config: dict[str, Any] = {}
    for name, theirs in _NAMES.items():
        if (value := getattr(request, name)) is not None:
            config[theirs] = value
    if request.stop:
        if len(request.stop) > _MOST_STOPS:
            return refused("stop", f"This model takes at most {_MOST_STOPS} stop sequences.")
        config["stopSequences"] = request.stop
    if request.logit_bias:
        return refused("logit_bias", "This model has no logit bias.")
    if request.seed is not None:
        config["seed"] = request.seed if -_SEEDS <= request.seed < _SEEDS else request.seed % _SEEDS
    if request.logprobs:
        config |= {"responseLogprobs": True}
        config |= {"logprobs": request.top_logprobs} if request.top_logprobs else {}
    if request.format is not None:
        config |= _format(request.format, dropped)
    if thinking := thinking_of(
        request.reasoning, model=model, max_tokens=request.max_tokens, dropped=dropped
    ):
        config["thinkingConfig"] = thinking
    if resolution := _resolution(request, dropped):
        config["mediaResolution"] = resolution
    return config


def _resolution(request: Request, dropped: dict[str, None]) -> str | None:
    """One resolution counts for all pictures of a request."""
    details = set(_details(request))
    if len(details) == 1:
        return _RESOLUTIONS.get(*details)
    if details - {"auto"}:
        dropped["messages[].content[].image_url.detail"] = None
    return None


def _details(request: Request) -> Iterator[str]:
    for message in request.messages:
        for part in message.parts:
            if type(part) is Image:
                yield part.detail or "auto"


def _format(form: Format, dropped: dict[str, None]) -> dict[str, Any]:
    config: dict[str, Any] = {"responseMimeType": "application/json"}
    if form.kind == "schema" and form.schema is not None:
        config["responseJsonSchema"] = form.schema
        if form.description:
            dropped["response_format.json_schema.description"] = None
    return config


def _tier(request: Request, body: dict[str, Any], dropped: dict[str, None]) -> None:
    """A tier goes through only where both mean the same by its name: it decides on the price."""
    tier = request.tier
    if tier in _TIERS:
        body["serviceTier"] = tier
    elif tier is not None and tier not in _USUAL_TIERS:
        dropped["service_tier"] = None
