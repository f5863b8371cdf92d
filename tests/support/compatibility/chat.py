"""The face /v1/chat/completions."""

from __future__ import annotations

from typing import Any

import openai
from openai.lib.streaming.chat import ChatCompletionStreamState

from support.compatibility.asking import PNG, SCHEMA, Answer, Ask, Call, Interrupted

TOLD_TO_SHOW = ("gemini/",)
"""Whose thoughts are shown only to a client that asks to see them: this dialect has no usual way to."""


class Chat:
    """Through the `openai` SDK; streams through its own accumulator."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client: Any = client

    def user(self, text: str, *, image: bool = False) -> Any:
        if not image:
            return {"role": "user", "content": text}
        url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        return {"role": "user", "content": [{"type": "text", "text": text}, url]}

    def results(self, texts: dict[str, str]) -> list[Any]:
        return [{"role": "tool", "tool_call_id": call, "content": text} for call, text in texts.items()]

    async def ask(self, ask: Ask) -> Answer:
        body: dict[str, Any] = {"model": ask.model, "messages": ask.history}
        if ask.tools:
            functions = [{"name": name, "parameters": SCHEMA} for name in ask.tools]
            body["tools"] = [{"type": "function", "function": function} for function in functions]
        if ask.think:
            body["reasoning_effort"] = "low"
            if ask.model.startswith(TOLD_TO_SHOW):
                body["extra_body"] = {"include_reasoning": True}
        if ask.schema:
            schema = {"name": "place", "schema": SCHEMA, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if ask.logprobs:
            body |= {"logprobs": True, "top_logprobs": 2}
        if ask.stream:
            return _answer(await self._streamed(body))
        return _answer(await self._client.chat.completions.create(**body))

    async def _streamed(self, body: dict[str, Any]) -> Any:
        state = ChatCompletionStreamState()
        text = ""
        stream = await self._client.chat.completions.create(
            **body, stream=True, stream_options={"include_usage": True}
        )
        try:
            async for chunk in stream:
                state.handle_chunk(chunk)
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
        except openai.APIError as error:
            raise Interrupted(text) from error
        final = state.current_completion_snapshot
        assert (final.choices[0].message.content or "") == text
        return final


def _answer(completion: Any) -> Answer:
    (choice,) = completion.choices
    message, used = choice.message, completion.usage
    cached = used and used.prompt_tokens_details and used.prompt_tokens_details.cached_tokens
    turn = message.model_dump(mode="json", exclude_none=True, warnings=False)
    turn.pop("parsed", None)
    for call in turn.get("tool_calls", ()):
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    return Answer(
        text=message.content or "",
        thoughts=getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None) or "",
        calls=[Call(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()],
        usage=used and (used.prompt_tokens, used.completion_tokens, cached or 0),
        finish=choice.finish_reason,
        turn=[turn],
        logprobs=list((choice.logprobs and choice.logprobs.content) or ()),
    )
