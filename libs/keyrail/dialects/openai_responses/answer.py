"""A whole answer: read from a provider, written for a client."""

from __future__ import annotations

from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.canonical.answer import Answer, Candidate, Finish
from keyrail.dialects.canonical.parts import Call, Foreign, Image, Part, Refusal, Text, Thinking
from keyrail.dialects.openai_responses import envelope, items, sealing
from keyrail.dialects.openai_responses.errors import classify_error, garbage
from keyrail.dialects.openai_responses.usage import usage_of

_ENDED = ("completed", "complete", "incomplete")
_REASONS: dict[object, Finish] = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
}


def parse_answer(body: bytes, provider: str) -> Answer | Failure:
    """Read a 200. A failed response is classified; what is no ended response is `garbage`."""
    value = json_text.parse_or_none(body)
    if type(value) is not dict:
        detail = "an empty body" if not body.strip() else "a body that is not a JSON object"
        return garbage(provider, f"answered with {detail}")
    found = cast("dict[str, Any]", value)
    status = found.get("status")
    if found.get("error") or status == "failed":
        return classify_error(provider, found)
    output = found.get("output")
    if type(output) is not list:
        return garbage(provider, "answered with JSON that is no response")
    if status is not None and status not in _ENDED:
        return garbage(provider, f"answered with a response that is {str(status)[:32]}")
    logprobs: list[Any] = []
    parts = [part for item in cast("list[object]", output) for part in parts_of(item, logprobs)]
    return Answer(
        id=text_or_none(found.get("id")),
        model=text_or_none(found.get("model")),
        created=seconds(found.get("created_at")),
        candidates=[
            Candidate(
                parts=parts,
                finish=finish_of(found, called=any(type(part) is Call for part in parts)),
                logprobs=logprobs or None,
            )
        ],
        usage=usage_of(
            found.get("usage"), served_tier=found.get("service_tier"), tools=found.get("tool_usage")
        ),
    )


def finish_of(response: dict[str, Any], *, called: bool) -> Finish:
    """How a response ended. `called`: it wants a tool called."""
    details = response.get("incomplete_details")
    if response.get("status") == "incomplete" or type(details) is dict:
        reason = cast("dict[str, Any]", details).get("reason") if type(details) is dict else None
        return _REASONS.get(text_or_none(reason), "length")
    return "tool_calls" if called else "stop"


def text_or_none(value: object) -> str | None:
    """A text that says something."""
    return value if type(value) is str and value else None


def seconds(value: object) -> int | None:
    """A moment in seconds since 1970; some providers send it with a fraction."""
    if type(value) is float and 0 < value < 1e11:
        return int(value)
    return value if type(value) is int and 0 < value < 10**11 else None


def parts_of(value: object, logprobs: list[Any]) -> list[Part]:
    """What an output item holds; `logprobs` takes those of its text. Hosted tools' items are Foreign."""
    if type(value) is not dict:
        return []
    item = cast("dict[str, Any]", value)
    kind = item.get("type")
    if kind == "message":
        return _words(item, logprobs)
    if kind == "reasoning":
        thinking = thinking_of(item)
        return [thinking] if thinking.text or thinking.seal else []
    if kind in ("function_call", "custom_tool_call"):
        return [call_of(item)]
    if kind == "image_generation_call" and type(item.get("result")) is str:
        form = text_or_none(item.get("output_format")) or "png"
        return [Image(media_type=f"image/{form}", data=item["result"])]
    return [Foreign(what=str(kind)[:64], value=item)]


def _words(item: dict[str, Any], logprobs: list[Any]) -> list[Part]:
    found: list[Part] = []
    for part in dicts(item.get("content")):
        kind, text = part.get("type"), part.get("text")
        if kind == "refusal" and type(part.get("refusal")) is str:
            found.append(Refusal(part["refusal"]))
        elif type(text) is str:
            annotations = part.get("annotations")
            found.append(
                Text(
                    text,
                    citations=cast("list[Any]", annotations) or None if type(annotations) is list else None,
                )
            )
            if type(part.get("logprobs")) is list:
                logprobs.extend(part["logprobs"])
    return found


def dicts(value: object) -> list[dict[str, Any]]:
    """The objects in a list; nothing for what is no list."""
    if type(value) is not list:
        return []
    return [cast("dict[str, Any]", item) for item in cast("list[object]", value) if type(item) is dict]


def thinking_of(item: dict[str, Any]) -> Thinking:
    """A reasoning item's summary, or its text where there is no summary, with OpenAI's seal."""
    texts = [part["text"] for part in dicts(item.get("summary")) if type(part.get("text")) is str]
    if not any(texts):
        texts = [part["text"] for part in dicts(item.get("content")) if type(part.get("text")) is str]
    seal = text_or_none(item.get("encrypted_content"))
    return Thinking(
        text="\n\n".join(filter(None, texts)),
        seal=seal,
        seal_kind="openai" if seal else None,
        id=text_or_none(item.get("id")),
    )


def call_of(item: dict[str, Any]) -> Call:
    """A call; one without a call_id is known by its own."""
    custom = item.get("type") == "custom_tool_call"
    arguments = item.get("input" if custom else "arguments")
    if type(arguments) is dict:
        arguments = json_text.dump(arguments).decode()
    return Call(
        id=text_or_none(item.get("call_id")) or text_or_none(item.get("id")) or "",
        name=text_or_none(item.get("name")) or "",
        arguments=arguments if type(arguments) is str else "",
        custom=custom,
    )


def render_answer(
    answer: Answer, *, model: str, request: dict[str, Any] | None = None, created: int | None = None
) -> bytes:
    """The response object. `model` and `created` for where the provider named none; `request`: the client's
    body, whose settings are repeated."""
    head = envelope.head(
        given=answer.id, model=answer.model or model, created=answer.created or created, request=request
    )
    candidate = answer.candidates[0] if answer.candidates else Candidate(parts=[])
    reason = envelope.incomplete_reason(candidate.finish)
    failed = candidate.finish == "error"
    output = _Output(head.id, items.custom_names(request), candidate.logprobs)
    for part in candidate.parts:
        output.add(part)
    output.end(cut=reason is not None)
    return json_text.dump(
        envelope.response(
            head,
            status="failed" if failed else "incomplete" if reason else "completed",
            request=request,
            output=output.items,
            usage=answer.usage,
            reason=reason,
            error=GAVE_UP if failed else None,
        )
    )


GAVE_UP = {"code": "server_error", "message": "The provider could not finish the answer."}
"""What a client is told of an answer that ended with an error within a 200."""


class _Output:
    """Puts parts into items: words that follow each other share a message."""

    __slots__ = ("_content", "_custom", "_id", "_logprobs", "items")

    def __init__(self, response_id: str, custom: frozenset[str], logprobs: list[Any] | None) -> None:
        self._id = response_id
        self._custom = custom
        self._logprobs = logprobs
        self._content: list[items.Item] = []
        self.items: list[items.Item] = []

    def _name(self, prefix: str) -> str:
        return envelope.item_id(prefix, self._id, len(self.items))

    def add(self, part: Part) -> None:
        """Another part of the answer."""
        if type(part) is Text:
            self._text(part)
        elif type(part) is Refusal:
            self._content.append(items.refusal(part.text))
        elif type(part) is Thinking:
            self.end()
            self._reasoning(part.text, sealing.of_thinking(part), part.id)
        elif type(part) is Call:
            self.end()
            self._call(part)
        elif type(part) is Image and part.data:
            self.end()
            if part.seal:
                self._reasoning("", sealing.on_part("image", part.seal))
            self.items.append(items.image(self._name("ig"), part.data, part.media_type))

    def _text(self, part: Text) -> None:
        if part.seal:
            self.end()
            self._reasoning("", sealing.on_part("text", part.seal))
        notes = [items.annotation(value, start=0, end=len(part.text)) for value in part.citations or ()]
        content = items.output_text(part.text, self._logprobs, [note for note in notes if note])
        self._logprobs = None
        self._content.append(content)

    def _reasoning(self, text: str, sealed: str | None, given: str | None = None) -> None:
        name = self._name("rs")
        if given and given.startswith("rs_") and all(item["id"] != given for item in self.items):
            name = given
        if text or sealed:
            self.items.append(items.reasoning(name, text, sealed))

    def _call(self, part: Call) -> None:
        if part.seal:
            self._reasoning("", sealing.on_call(part.id, part.seal))
        custom = part.custom or part.name in self._custom
        text = part.arguments if part.custom or not custom else items.free_text(part.arguments)
        prefix = "ctc" if custom else "fc"
        whole = text if custom else text or "{}"
        self.items.append(
            items.call(self._name(prefix), part.id, part.name, whole, "completed", custom=custom)
        )

    def end(self, *, cut: bool = False) -> None:
        """What follows is another item. `cut`: the answer broke off here."""
        if self._content:
            self.items.append(items.message(self._name("msg"), self._content, "completed"))
            self._content = []
        if cut and self.items and "status" in self.items[-1]:
            self.items[-1]["status"] = "incomplete"
