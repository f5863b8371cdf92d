"""The face /v1/messages."""

from __future__ import annotations

import json
from typing import Any

import anthropic

from support.compatibility.asking import PNG, SCHEMA, Answer, Ask, Call, Interrupted

FINISHES = {"max_tokens": "length"}


class Messages:
    """Through the `anthropic` SDK; streams through its own accumulator."""

    def __init__(self, client: anthropic.AsyncAnthropic) -> None:
        self._client: Any = client

    def user(self, text: str, *, image: bool = False) -> Any:
        parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if image:
            source = {"type": "base64", "media_type": "image/png", "data": PNG}
            parts.append({"type": "image", "source": source})
        return {"role": "user", "content": parts}

    def results(self, texts: dict[str, str]) -> list[Any]:
        blocks = [
            {"type": "tool_result", "tool_use_id": call, "content": text} for call, text in texts.items()
        ]
        return [{"role": "user", "content": blocks}]

    async def ask(self, ask: Ask) -> Answer:
        body: dict[str, Any] = {"model": ask.model, "messages": ask.history, "max_tokens": 2048}
        if ask.tools:
            body["tools"] = [{"name": name, "input_schema": SCHEMA} for name in ask.tools]
        if ask.think:
            body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        if ask.schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        if ask.stream:
            return _answer(await self._streamed(body))
        return _answer(await self._client.messages.create(**body))

    async def _streamed(self, body: dict[str, Any]) -> Any:
        text = ""
        began = False
        try:
            async with self._client.messages.stream(**body) as stream:
                began = True
                async for piece in stream.text_stream:
                    text += piece
                final = await stream.get_final_message()
        except anthropic.APIError as error:
            if not began:
                raise
            raise Interrupted(text) from error
        assert "".join(block.text for block in final.content if block.type == "text") == text
        return final


def _answer(message: Any) -> Answer:
    used = message.usage
    cached = used.cache_read_input_tokens or 0
    whole = used.input_tokens + cached + (used.cache_creation_input_tokens or 0)
    content = [block.model_dump(mode="json", exclude_none=True, warnings=False) for block in message.content]
    for block in content:
        block.pop("parsed_output", None)
    return Answer(
        text="".join(block.text for block in message.content if block.type == "text"),
        thoughts="".join(block.thinking for block in message.content if block.type == "thinking"),
        calls=[
            Call(block.id, block.name, json.dumps(block.input))
            for block in message.content
            if block.type == "tool_use"
        ],
        usage=(whole, used.output_tokens, cached),
        finish=FINISHES.get(message.stop_reason or "", "other"),
        turn=[{"role": "assistant", "content": content}],
    )
