"""A chat request, read into the canonical form.

Carried: messages, tools, sampling, limits, reasoning in its many spellings, formats, ids, tiers, cache hints.
Dropped with mention: what tunes, tags or stores at one provider. Refused: sound as an answer and hosted web
search, without which the request asks for something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

from keyrail.contracts.failures import Failure
from keyrail.dialects import loose
from keyrail.dialects.canonical.request import Effort, Format, Reasoning, Request, refused
from keyrail.dialects.openai_chat import tools
from keyrail.dialects.openai_chat.history import History

_EFFORTS: tuple[str, ...] = get_args(Effort)
_READ = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "n",
        "logprobs",
        "reasoning_effort",
        "reasoning",
        "thinking",
        "include_reasoning",
        "reasoning_format",
        "response_format",
        "user",
        "safety_identifier",
        "cache_control",
        "web_search_options",
    }
)
"""Parameters that this module looks at one by one; the simple ones are in _SIMPLE."""

_SIMPLE: dict[str, tuple[str, Callable[[object], Any]]] = {
    "parallel_tool_calls": ("parallel", loose.flag),
    "temperature": ("temperature", loose.number),
    "top_p": ("top_p", loose.number),
    "top_k": ("top_k", loose.integer),
    "presence_penalty": ("presence_penalty", loose.number),
    "frequency_penalty": ("frequency_penalty", loose.number),
    "seed": ("seed", loose.integer),
    "top_logprobs": ("top_logprobs", loose.integer),
    "logit_bias": ("logit_bias", loose.fields),
    "verbosity": ("verbosity", loose.text),
    "service_tier": ("tier", loose.text),
    "prompt_cache_key": ("cache_key", loose.text),
    "metadata": ("metadata", loose.fields),
}
_HARMLESS: dict[str, object] = {"store": False, "modalities": ["text"]}
"""Values that mean the same as saying nothing."""


def read_request(body: dict[str, Any]) -> Request | Failure:
    """The canonical form of a body that `check` has passed. A Failure (400) names what nobody could serve."""
    problem = _impossible(body)
    if problem is not None:
        return problem
    history = History()
    if (problem := history.read(body["messages"])) is not None:
        return problem
    request = Request(messages=history.messages, dropped=history.dropped)
    for read in (_read_tools, _read_thinking, _read_format):
        if (problem := read(request, body)) is not None:
            return problem
    _read_simple(request, body)
    request.stream = body.get("stream") is True
    request.include_usage = loose.fields(body.get("stream_options")).get("include_usage") is True
    request.max_tokens = loose.integer(body.get("max_completion_tokens") or body.get("max_tokens"))
    stop = body.get("stop")
    request.stop = [stop] if type(stop) is str and stop else [word for word in loose.items(stop) if word]
    n = loose.integer(body.get("n"))
    request.n = None if n == 1 else n
    request.logprobs = loose.flag(body.get("logprobs")) or None
    request.user = loose.text(body.get("safety_identifier")) or loose.text(body.get("user"))
    request.cache = tools.read_cache(body)
    return request


def _impossible(body: dict[str, Any]) -> Failure | None:
    if "audio" in loose.items(body.get("modalities")):
        return refused("modalities", "This model can't answer in sound here.")
    if body.get("web_search_options") is not None:
        return refused("web_search_options", "Web search by the provider can't be used with this model here.")
    return None


def _read_simple(request: Request, body: dict[str, Any]) -> None:
    for name, value in body.items():
        if value is None or name in _READ:
            continue
        simple = _SIMPLE.get(name)
        if simple is None:
            if value != _HARMLESS.get(name) and value not in ([], {}):
                request.dropped.append(name)
            continue
        read = simple[1](value)
        if read is None:
            request.dropped.append(name)
        elif read != {}:
            setattr(request, simple[0], read)


def _read_tools(request: Request, body: dict[str, Any]) -> Failure | None:
    found = tools.read_tools(body)
    if isinstance(found, Failure):
        return found
    choice = tools.read_choice(body)
    if isinstance(choice, Failure):
        return choice
    request.tools, request.choice = found, choice
    return None


def _read_thinking(request: Request, body: dict[str, Any]) -> Failure | None:
    """`reasoning` (OpenRouter), `reasoning_effort`, `thinking` (Anthropic's), and what asks to see it."""
    asked = loose.fields(body.get("reasoning"))
    thinking = loose.fields(body.get("thinking"))
    found = Reasoning()
    efforts = (("reasoning.effort", asked.get("effort")), ("reasoning_effort", body.get("reasoning_effort")))
    for param, value in efforts:
        if value is None or value == "default" or found.effort is not None:
            continue
        if value not in _EFFORTS:
            return refused(param, f"Invalid value for '{param}': expected one of {', '.join(_EFFORTS)}.")
        found.effort = cast("Effort", value)
    found.budget = loose.integer(asked.get("max_tokens")) or loose.integer(thinking.get("budget_tokens"))
    found.enabled = loose.flag(asked.get("enabled"))
    if found.enabled is None and (kind := thinking.get("type")) is not None:
        found.enabled = kind != "disabled"
    if found.effort == "none":
        found.enabled = False
    found.show = _shown(body, asked)
    if found != Reasoning() or asked or thinking:
        request.reasoning = found
    return None


def _shown(body: dict[str, Any], asked: dict[str, Any]) -> bool | None:
    if (exclude := loose.flag(asked.get("exclude"))) is not None:
        return not exclude
    if (include := loose.flag(body.get("include_reasoning"))) is not None:
        return include
    format_ = loose.text(body.get("reasoning_format"))
    return None if format_ is None or format_ == "none" else format_ != "hidden"


def _read_format(request: Request, body: dict[str, Any]) -> Failure | None:
    wanted = loose.fields(body.get("response_format"))
    kind = wanted.get("type")
    if kind is None or kind == "text":
        return None
    if kind == "json_object":
        request.format = Format("json")
        return None
    schema = loose.fields(wanted.get("json_schema"))
    if kind != "json_schema" or type(schema.get("schema")) is not dict:
        param = "response_format.type" if kind != "json_schema" else "response_format.json_schema.schema"
        return refused(param, f"Invalid value for '{param}'.").replace(code="invalid_value")
    request.format = Format(
        "schema",
        schema=schema["schema"],
        name=loose.text(schema.get("name")),
        description=loose.text(schema.get("description")),
        strict=loose.flag(schema.get("strict")),
    )
    return None
