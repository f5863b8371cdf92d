"""The face /v1/responses, without stored state."""

from __future__ import annotations

from typing import Any

import openai

from support.compatibility.asking import PNG, SCHEMA, Answer, Ask, Call, Interrupted

SEALS = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"


class Responses:
    """Through the `openai` SDK; the deltas of a stream must say what its last event says."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client: Any = client

    def user(self, text: str, *, image: bool = False) -> Any:
        parts: list[dict[str, Any]] = [{"type": "input_text", "text": text}]
        if image:
            url = f"data:image/png;base64,{PNG}"
            parts.append({"type": "input_image", "image_url": url, "detail": "auto"})
        return {"role": "user", "content": parts}

    def results(self, texts: dict[str, str]) -> list[Any]:
        return [
            {"type": "function_call_output", "call_id": call, "output": text} for call, text in texts.items()
        ]

    async def ask(self, ask: Ask) -> Answer:
        body: dict[str, Any] = {"model": ask.model, "input": ask.history, "store": False}
        if ask.tools:
            body["tools"] = [
                {"type": "function", "name": name, "parameters": SCHEMA, "strict": True} for name in ask.tools
            ]
        if ask.think:
            body |= {"reasoning": {"effort": "low", "summary": "auto"}, "include": [SEALS]}
        if ask.schema:
            form = {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}
            body["text"] = {"format": form}
        if ask.logprobs:
            body |= {"top_logprobs": 2, "include": [LOGPROBS]}
        if ask.stream:
            return await self._streamed(body)
        return _answer(await self._client.responses.create(**body))

    async def _streamed(self, body: dict[str, Any]) -> Answer:
        text = thoughts = arguments = ""
        final: Any = None
        stream = await self._client.responses.create(**body, stream=True)
        try:
            async for event in stream:
                match event.type:
                    case "response.output_text.delta":
                        text += event.delta
                    case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                        thoughts += event.delta
                    case "response.function_call_arguments.delta":
                        arguments += event.delta
                    case "response.completed" | "response.incomplete":
                        final = event.response
                    case _:
                        pass
        except openai.APIError as error:
            raise Interrupted(text) from error
        answer = _answer(final)
        told = (answer.text, answer.thoughts, "".join(call.arguments for call in answer.calls))
        if len(answer.calls) < 2:
            assert (text, thoughts, arguments) == told
        return answer


def _answer(response: Any) -> Answer:
    messages = [item for item in response.output if item.type == "message"]
    parts = [part for message in messages for part in message.content if part.type == "output_text"]
    calls = [item for item in response.output if item.type == "function_call"]
    used, why = response.usage, response.incomplete_details
    return Answer(
        text="".join(part.text for part in parts),
        thoughts="".join(_thoughts(item) for item in response.output if item.type == "reasoning"),
        calls=[Call(item.call_id, item.name, item.arguments) for item in calls],
        usage=used and (used.input_tokens, used.output_tokens, used.input_tokens_details.cached_tokens),
        finish="length" if why and why.reason == "max_output_tokens" else response.status,
        turn=[item.model_dump(mode="json", exclude_none=True, warnings=False) for item in response.output],
        logprobs=[entry for part in parts for entry in part.logprobs or ()],
    )


def _thoughts(item: Any) -> str:
    return "".join(part.text for part in [*item.summary, *(item.content or ())])
