"""A provider's request out of the canonical form."""

from __future__ import annotations

from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects.anthropic_messages.blocks import control_of
from keyrail.dialects.anthropic_messages.models import Rules, rules_of
from keyrail.dialects.anthropic_messages.outbound_messages import Conversation, Unwritable
from keyrail.dialects.anthropic_messages.outbound_thinking import Thoughts, thoughts_of
from keyrail.dialects.anthropic_messages.outbound_tools import Tooling
from keyrail.dialects.anthropic_messages.request import quirky
from keyrail.dialects.base import Quirks
from keyrail.dialects.canonical.request import Request, Written, refused

_USER_CHARS = 256
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}


def write_request(request: Request, *, model: str, quirks: Quirks) -> Written | Failure:
    """The body for the provider. A Failure (400) says what this model can't do and nobody can leave out."""
    rules = rules_of(model)
    if (problem := _impossible(request)) is not None:
        return problem
    dropped = list(request.dropped)
    conversation = Conversation(inline_system=rules.inline_system)
    try:
        conversation.build(request.messages)
        tooling = Tooling(request, rules)
    except Unwritable as error:
        return error.failure
    conversation.finish()
    conversation.system += tooling.instructions
    dropped += conversation.dropped + tooling.dropped
    if (problem := _last_turn(conversation.messages, rules, model)) is not None:
        return problem
    thoughts = thoughts_of(request.reasoning, rules, request.max_tokens)
    if thoughts.budget is not None and (tooling.forced or _begins_mid_thought(conversation.messages)):
        thoughts = Thoughts(missed="reasoning")
    if thoughts.missed is not None:
        dropped.append(thoughts.missed)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": _max_tokens(request.max_tokens, thoughts, rules, dropped),
    }
    if conversation.system:
        body["system"] = _system(conversation.system)
    body["messages"] = [_plain(message) for message in conversation.messages]
    body.update(tooling.fields)
    if thoughts.thinking is not None:
        body["thinking"] = thoughts.thinking
    if thoughts.effort is not None:
        body["output_config"] = {"effort": thoughts.effort, **body.get("output_config", {})}
    _sample(request, rules, thoughts, body, dropped)
    _rest(request, body, dropped)
    return quirky(body, quirks, dropped)


def _impossible(request: Request) -> Failure | None:
    if request.n is not None and request.n != 1:
        return refused("n", "Anthropic's models give one answer at a time.")
    if request.logprobs:
        return refused("logprobs", "Anthropic's models give no log probabilities.")
    if request.logit_bias:
        return refused("logit_bias", "Anthropic's models take no token biases.")
    return None


def _last_turn(messages: list[dict[str, Any]], rules: Rules, model: str) -> Failure | None:
    if not any(message["role"] == "user" for message in messages):
        return refused("messages", "There is no message of a user with anything in it.")
    if messages[-1]["role"] == "assistant" and not rules.prefill:
        return refused("messages", f"{model} does not continue a turn of the assistant.")
    return None


def _begins_mid_thought(messages: list[dict[str, Any]]) -> bool:
    """Whether the assistant's turn that goes on now began without thinking: with a budget that is refused.

    It did where the client, or another provider, did not keep the thoughts of the calls that are answered.
    """
    for message in reversed(messages):
        if message["role"] == "assistant":
            content = message["content"]
            return content[0]["type"] not in ("thinking", "redacted_thinking") and any(
                block["type"] == "tool_use" for block in content
            )
        if message["role"] == "user" and message["content"][0]["type"] != "tool_result":
            return False
    return False


def _max_tokens(asked: int | None, thoughts: Thoughts, rules: Rules, dropped: list[str]) -> int:
    if asked is None:
        wanted = rules.usual + (thoughts.budget or 0)
        return min(wanted, rules.most) if rules.most is not None else wanted
    if rules.most is not None and asked > rules.most:
        dropped.append("max_tokens")
        return rules.most
    return asked


def _system(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if len(blocks) == 1 and "cache_control" not in blocks[0]:
        return blocks[0]["text"]
    return blocks


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """A turn that is one text, in the short form."""
    content = message["content"]
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        return {"role": message["role"], "content": content[0]["text"]}
    return message


def _sample(
    request: Request, rules: Rules, thoughts: Thoughts, body: dict[str, Any], dropped: list[str]
) -> None:
    """Temperature, top_p and top_k, as far as the model takes them; 1 is what it does anyway."""
    temperature, top_p, top_k = request.temperature, request.top_p, request.top_k
    if not rules.sampling or thoughts.active:
        dropped += [
            name
            for name, value in (("temperature", temperature), ("top_p", top_p))
            if value is not None and value != 1
        ]
        if top_k is not None:
            dropped.append("top_k")
        return
    if temperature is not None:
        body["temperature"] = min(temperature, 1)
        if temperature > 1:
            dropped.append("temperature")
    if top_p is not None:
        if temperature is None or rules.both:
            body["top_p"] = top_p
        elif top_p != 1:
            dropped.append("top_p")
    if top_k is not None:
        body["top_k"] = top_k


def _rest(request: Request, body: dict[str, Any], dropped: list[str]) -> None:
    if request.stop:
        stops = [text for text in request.stop if text.strip()]  # white space alone is refused
        if len(stops) < len(request.stop):
            dropped.append("stop")
        if stops:
            body["stop_sequences"] = stops
    if request.user is not None:
        if len(request.user) <= _USER_CHARS:
            body["metadata"] = {"user_id": request.user}
        else:
            dropped.append("user")
    if request.tier is not None:
        if (tier := _TIERS.get(request.tier)) is not None:
            body["service_tier"] = tier
        else:
            dropped.append("service_tier")
    if request.cache is not None:
        body["cache_control"] = control_of(request.cache)
    if request.stream:
        body["stream"] = True
    dropped += _hints(request)


def _hints(request: Request) -> list[str]:
    """What was asked for and has no peer here; what a parameter is anyway is no loss."""
    hints = {
        "presence_penalty": request.presence_penalty or None,
        "frequency_penalty": request.frequency_penalty or None,
        "top_logprobs": request.top_logprobs or None,
        "seed": request.seed,
        "verbosity": request.verbosity,
        "prompt_cache_key": request.cache_key,
        "metadata": request.metadata,
    }
    return [name for name, value in hints.items() if value is not None]
