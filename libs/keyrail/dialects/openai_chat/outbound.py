"""A canonical request, written for a provider that speaks this dialect, in whichever flavour.

The limit is written as `max_completion_tokens`, and instructions with the role `system`: a flavour's quirks
rename both. `cache_control`, `reasoning_details` and `extra_content` go to providers whose quirks take them.
"""

from __future__ import annotations

import hashlib
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Effort, Format, Reasoning, Request, Written
from keyrail.dialects.openai_chat import models, tools
from keyrail.dialects.openai_chat.fitting import fit
from keyrail.dialects.openai_chat.turns import Turns

_LONGEST_USER = 64
_TIERS = {"standard": "default", "standard_only": "default", "on_demand": "default"}
_OWN_TIERS = frozenset({"auto", "default", "flex", "priority", "scale", "fast", "performance"})
_SAMPLING = (
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
    ("logit_bias", "logit_bias"),
    ("logprobs", "logprobs"),
    ("top_logprobs", "top_logprobs"),
)
_USUAL: dict[str, object] = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}


def write_request(request: Request, *, model: str, quirks: Quirks) -> Written | Failure:
    """The body for the provider. A Failure (400) says what can't be done."""
    turns = Turns(quirks)
    if (problem := turns.write(request.messages)) is not None:
        return problem
    dropped = list(turns.dropped)
    body: dict[str, Any] = {"model": model, "messages": turns.messages}
    if request.stream:
        body["stream"] = True
    caches = "cache_control" in quirks.takes
    body |= tools.write_tools(request.tools, request.choice, caches=caches)
    if request.tools and request.parallel is not None:
        body["parallel_tool_calls"] = request.parallel
    _write_limits(body, request)
    thinks = _write_reasoning(body, request.reasoning, model, quirks, dropped)
    _write_sampling(body, request, thinks, dropped)
    if request.format is not None:
        body["response_format"] = _format(request.format)
    _write_tags(body, request, dropped)
    if request.cache is not None and caches:
        body["cache_control"] = tools.cache_control(request.cache)
    elif not caches and (request.cache is not None or any(tool.cache for tool in request.tools)):
        dropped.append("cache_control")
    fitted = fit(body, model=model, quirks=quirks)
    if isinstance(fitted, Failure):
        return fitted
    return Written(fitted.body, tuple(dict.fromkeys((*dropped, *fitted.dropped))))


def _write_limits(body: dict[str, Any], request: Request) -> None:
    if request.max_tokens is not None:
        body["max_completion_tokens"] = request.max_tokens
    if request.stop:
        body["stop"] = request.stop
    if request.n is not None:
        body["n"] = request.n
    if request.seed is not None:
        body["seed"] = request.seed


def _write_sampling(body: dict[str, Any], request: Request, thinks: bool, dropped: list[str]) -> None:
    """What steers sampling; a model of OpenAI's that thinks refuses all of it."""
    for field, name in _SAMPLING:
        value = getattr(request, field)
        if value is None:
            continue
        if not thinks:
            body[name] = value
        elif value != _USUAL.get(name):
            dropped.append(name)
    if request.top_k is not None:
        dropped.append("top_k")


def _write_reasoning(
    body: dict[str, Any], asked: Reasoning | None, model: str, quirks: Quirks, dropped: list[str]
) -> bool:
    """How much to think, in the provider's words. Whether the model is known to refuse sampling now."""
    if "reasoning_details" in quirks.takes:  # OpenRouter: it knows its models
        if asked is not None and (wanted := _openrouter(asked)):
            body["reasoning"] = wanted
        return False
    known = models.known(model)
    effort = _effort(asked) if asked is not None else None
    if known is None:
        if effort is not None:
            body["reasoning_effort"] = effort
        if asked is not None and asked.show is False:
            dropped.append("reasoning.exclude")
        return False
    if effort is not None and not known.efforts:
        if effort != "none":
            dropped.append("reasoning_effort")
    elif effort is not None:
        body["reasoning_effort"] = effort = models.nearest(effort, known.efforts)
    thinks = bool(known.efforts) and (known.thinks if effort is None else effort != "none")
    return thinks and known.strict


def _effort(asked: Reasoning) -> Effort | None:
    if asked.enabled is False:
        return "none"
    if asked.effort is not None:
        return "xhigh" if asked.effort == "max" else asked.effort  # chat refuses it
    if asked.budget is not None:
        return models.effort_of(asked.budget) if asked.budget > 0 else "none"
    return "medium" if asked.enabled else None


def _openrouter(asked: Reasoning) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if asked.enabled is False:
        wanted["enabled"] = False
    elif asked.budget is not None:
        wanted["max_tokens"] = asked.budget
    elif asked.effort is not None:
        wanted["effort"] = "xhigh" if asked.effort == "max" else asked.effort
    elif asked.enabled:
        wanted["enabled"] = True
    if asked.show is not None:
        wanted["exclude"] = not asked.show
    return wanted


def _format(wanted: Format) -> dict[str, Any]:
    if wanted.kind == "json":
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": wanted.name or "answer"}
    if wanted.description is not None:
        schema["description"] = wanted.description
    schema["schema"] = wanted.schema
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}


def _write_tags(body: dict[str, Any], request: Request, dropped: list[str]) -> None:
    if request.verbosity is not None:
        body["verbosity"] = request.verbosity
    if request.user is not None:
        body["user"] = _user(request.user)
    if request.tier is not None:
        tier = _TIERS.get(request.tier, request.tier)
        if tier in _OWN_TIERS:
            body["service_tier"] = tier
        else:
            dropped.append("service_tier")
    if request.cache_key is not None:
        body["prompt_cache_key"] = request.cache_key
    if request.metadata:
        dropped.append("metadata")  # OpenAI takes it only together with `store`


def _user(user: str) -> str:
    """The end user's id; a hash that stands for it where it is too long."""
    if len(user) <= _LONGEST_USER:
        return user
    return hashlib.sha256(user.encode()).hexdigest()
