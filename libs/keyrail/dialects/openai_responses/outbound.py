"""A request in the canonical form, written for a provider of this dialect."""

from __future__ import annotations

from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.parts import Thinking
from keyrail.dialects.canonical.request import Choice, Format, Reasoning, Request, Tool, Written, refused
from keyrail.dialects.openai_responses.outbound_items import Items
from keyrail.dialects.openai_responses.request import with_quirks

_LEAST_TOKENS = 16
"""The API refuses a smaller limit."""

_TIERS = {
    "auto": "auto",
    "default": "default",
    "standard": "default",
    "standard_only": "default",
    "flex": "flex",
    "scale": "scale",
    "priority": "priority",
    "fast": "fast",
    "ultrafast": "ultrafast",
}
"""What the words of other dialects for a service tier are in this one."""

_BUDGETS = ((1_024, "minimal"), (2_048, "low"), (10_000, "medium"), (24_576, "high"))
"""The effort for a thinking budget: the first whose tokens are enough; more is xhigh."""

_NO_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}


def write_request(request: Request, *, model: str, quirks: Quirks) -> Written | Failure:
    """The body for the provider. A Failure (400) for what the API has no parameter for and that changes the
    answer: stop sequences, several answers, biases.

    Thoughts go back to their maker only: OpenAI's sealed ones are reasoning items, all others are left out.
    """
    if (failure := _impossible(request)) is not None:
        return failure
    turns = Items()
    turns.write(request.messages)
    if turns.failure is not None:
        return turns.failure
    dropped = [*request.dropped, *sorted(turns.dropped), *_ignored(request)]
    body: dict[str, Any] = {"model": model, "input": turns.items, "store": False}
    if request.stream:
        body["stream"] = True
    _tools(body, request)
    _sampling(body, request, dropped)
    _reasoning(body, request)
    form = _text(request)
    if form:
        body["text"] = form
    return with_quirks(body, dropped, quirks)


def _impossible(request: Request) -> Failure | None:
    if request.stop:
        return refused("stop", "This provider's Responses API has no stop sequences.")
    if request.n is not None and request.n > 1:
        return refused("n", "This provider's Responses API gives one answer a request.")
    if request.logit_bias:
        return refused("logit_bias", "This provider's Responses API has no logit bias.")
    return None


def _ignored(request: Request) -> list[str]:
    """Parameters that tune an answer and have no place here."""
    names = ("top_k", "presence_penalty", "frequency_penalty", "seed")
    found = [name for name in names if getattr(request, name)]
    return [*found, "cache_control"] if request.cache is not None else found


def _tools(body: dict[str, Any], request: Request) -> None:
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.choice is not None:
        body["tool_choice"] = _choice(request.choice, {tool.name for tool in request.tools if tool.custom})
    if request.parallel is not None:
        body["parallel_tool_calls"] = request.parallel


def _tool(tool: Tool) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "custom" if tool.custom else "function", "name": tool.name}
    if tool.description is not None:
        found["description"] = tool.description
    if tool.custom:
        if tool.format is not None:
            found["format"] = _grammar(tool.format)
        return found
    found["parameters"] = _NO_SCHEMA if tool.schema is None else tool.schema
    found["strict"] = bool(tool.strict)  # left out it would be true, and change the schema
    return found


def _grammar(form: dict[str, Any]) -> dict[str, Any]:
    """Chat completions nest a grammar, this dialect does not."""
    inner = form.get("grammar")
    return {"type": "grammar", **inner} if isinstance(inner, dict) else form


def _choice(choice: Choice, custom: set[str]) -> str | dict[str, Any]:
    if not choice.names or choice.mode == "none":
        return choice.mode
    tools = [{"type": "custom" if name in custom else "function", "name": name} for name in choice.names]
    if len(tools) == 1 and choice.mode == "required":
        return tools[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}


def _sampling(body: dict[str, Any], request: Request, dropped: list[str]) -> None:
    if request.max_tokens is not None:
        body["max_output_tokens"] = max(request.max_tokens, _LEAST_TOKENS)
        if request.max_tokens < _LEAST_TOKENS:
            dropped.append("max_tokens")
    if request.logprobs:
        body["include"] = ["message.output_text.logprobs"]
        if request.top_logprobs:
            body["top_logprobs"] = request.top_logprobs
    if request.tier is not None:
        tier = _TIERS.get(request.tier)
        if tier is None:
            dropped.append("service_tier")
        else:
            body["service_tier"] = tier
    for name, value in (
        ("temperature", request.temperature),
        ("top_p", request.top_p),
        ("user", request.user),
        ("prompt_cache_key", request.cache_key),
        ("metadata", request.metadata),
    ):
        if value is not None:
            body[name] = value


def _reasoning(body: dict[str, Any], request: Request) -> None:
    """How much to think, and the seals: without them the next turn would begin without these thoughts.

    They are asked for only where it is plain that the model reasons: others refuse to include them.
    """
    wanted = request.reasoning
    if wanted is not None:
        found: dict[str, Any] = {}
        effort = _effort(wanted)
        if effort is not None:
            found["effort"] = effort
        if wanted.show:
            found["summary"] = "auto"
        if found:
            body["reasoning"] = found
    asked = wanted is not None and (wanted.enabled or wanted.effort not in (None, "none") or wanted.budget)
    if asked or _sealed(request):
        body["include"] = [*body.get("include", ()), "reasoning.encrypted_content"]


def _effort(wanted: Reasoning) -> str | None:
    if wanted.enabled is False:
        return "none"
    if wanted.effort is not None or wanted.budget is None:
        return wanted.effort
    return next((effort for tokens, effort in _BUDGETS if wanted.budget <= tokens), "xhigh")


def _sealed(request: Request) -> bool:
    return any(
        type(part) is Thinking and part.seal is not None and part.seal_kind == "openai"
        for message in request.messages
        for part in message.parts
    )


def _text(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if request.format is not None:
        found["format"] = _format(request.format)
    if request.verbosity is not None:
        found["verbosity"] = request.verbosity
    return found


def _format(form: Format) -> dict[str, Any]:
    if form.kind == "json":
        return {"type": "json_object"}
    found: dict[str, Any] = {
        "type": "json_schema",
        "name": form.name or "answer",
        "schema": form.schema or _NO_SCHEMA,
    }
    if form.description is not None:
        found["description"] = form.description
    if form.strict is not None:
        found["strict"] = form.strict
    return found
