"""The conversation: canonical messages become contents and the system instruction."""

from __future__ import annotations

import base64
from typing import Any, cast

from keyrail.contracts.failures import Failure
from keyrail.dialects import json_text
from keyrail.dialects.canonical.parts import (
    Audio,
    Call,
    Document,
    Foreign,
    Image,
    Part,
    Refusal,
    Result,
    Text,
    Thinking,
)
from keyrail.dialects.canonical.request import Message, refused
from keyrail.dialects.gemini_generate import media
from keyrail.dialects.gemini_generate.models import needs_signatures, takes_media_in_results

FILLER = base64.b64encode(b"skip_thought_signature_validator").decode()
"""The documented stand-in for a signature that the history lost or never had; the field holds base64."""

RAW_ARGUMENTS = "arguments"
"""The key under which arguments go that are no JSON object, as the text they are."""

_INSTRUCTION = "<system_instruction>\n{}\n</system_instruction>"
_NO_WORDS = {"text": ""}


class Refused(Exception):
    """The conversation holds what this provider can't take."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Turns:
    """Collects the turns of one request. Raises Refused.

    `instruction` are the parts of the leading instructions, `contents` the turns: user first, those of one
    role that follow each other joined, tool results apart from the user's words. `dropped` names what was
    left out.
    """

    __slots__ = ("_model", "_names", "contents", "dropped", "instruction")

    def __init__(self, model: str) -> None:
        self._model = model
        self._names: dict[str, str] = {}  # of the tools, by the id of their calls
        self.instruction: list[dict[str, Any]] = []
        self.contents: list[dict[str, Any]] = []
        self.dropped: dict[str, None] = {}

    def read(self, messages: list[Message]) -> None:
        """All of the conversation."""
        leading = True
        for index, message in enumerate(messages):
            leading = leading and message.role == "system"
            param = f"messages[{index}]"
            if message.name is not None:
                self.dropped[f"{param}.name"] = None
            if message.role == "system":
                self._instruct(message, param, leading=leading)
            elif message.role == "user":
                self._user(message, param)
            else:
                self._assistant(message, param)
        if not self.contents and self.instruction:
            # Somebody must speak: instructions alone are what the user says.
            self.contents.append({"role": "user", "parts": self.instruction})
            self.instruction = []
        elif self.contents and self.contents[0]["role"] != "user":
            self.contents.insert(0, {"role": "user", "parts": [_NO_WORDS]})
        if needs_signatures(self._model):
            self._sign()

    def _instruct(self, message: Message, param: str, *, leading: bool) -> None:
        parts = [self._text(part, f"{param}.content") for part in message.parts]
        texts = [text for text in parts if text]
        if leading:
            self.instruction += [{"text": text} for text in texts]
        else:
            self._add("user", [{"text": _INSTRUCTION.format(text)} for text in texts])

    def _text(self, part: Part, param: str) -> str:
        if type(part) is Text:
            self._uncached(part)
            return part.text
        raise Refused(refused(param, "Instructions for this model are text only."))

    def _user(self, message: Message, param: str) -> None:
        results: list[dict[str, Any]] = []
        words: list[dict[str, Any]] = []
        for place, part in enumerate(message.parts):
            where = f"{param}.content[{place}]"
            if type(part) is Result:
                results += self._result(part, words, param, where)
            else:
                words += self._content(part, where)
        self._add("user", results)
        self._add("user", words)

    def _content(self, part: Part, param: str) -> list[dict[str, Any]]:
        """What a user may say, and a model have shown."""
        if type(part) is Text:
            self._uncached(part)
            if part.seal:
                return [{"text": part.text, "thoughtSignature": part.seal}]
            return [{"text": part.text}] if part.text else []
        if type(part) is Image:
            self._uncached(part)
            found = _or_refused(media.image_part(part, model=self._model, param=param))
            return [{**found, "thoughtSignature": part.seal}] if part.seal else [found]
        if type(part) is Document:
            self._uncached(part)
            return [_or_refused(media.document_part(part, model=self._model, param=param))]
        if type(part) is Audio:
            return [media.audio_part(part)]
        if type(part) is Refusal:
            return [{"text": part.text}] if part.text else []
        what = part.what if type(part) is Foreign else type(part).__name__.lower()
        raise Refused(refused(param, f"{self._model} can't be sent a part of type {what!r}."))

    def _result(
        self, result: Result, words: list[dict[str, Any]], param: str, where: str
    ) -> list[dict[str, Any]]:
        name = self._names.get(result.call_id) or result.name
        if not name:
            sentence = f"No call with the id {result.call_id[:80]!r} precedes this tool result."
            raise Refused(refused(f"{param}.tool_call_id", sentence))
        self._uncached(result)
        texts: list[str] = []
        shown: list[dict[str, Any]] = []
        for part in result.parts:
            if type(part) is Text:
                texts.append(part.text)
            else:
                shown += self._content(part, where)
        response = _response("\n".join(texts), failed=result.failed, attached=bool(shown))
        body: dict[str, Any] = {"id": result.call_id, "name": name, "response": response}
        if shown and takes_media_in_results(self._model):
            body["parts"] = shown
        else:
            words += shown
        return [{"functionResponse": body}]

    def _assistant(self, message: Message, param: str) -> None:
        parts: list[dict[str, Any]] = []
        sealed = any(type(part) is Call and part.seal for part in message.parts)
        seal: str | None = None  # one that travelled apart from the part it belongs to
        for place, part in enumerate(message.parts):
            if type(part) is Thinking:
                if part.seal_kind != "gemini" or not part.seal:
                    if part.seal or not sealed:  # else the call's seal stands for these words
                        self.dropped[f"{param}.thinking"] = None
                elif part.text:
                    parts.append({"text": part.text, "thought": True, "thoughtSignature": part.seal})
                else:
                    seal = part.seal
                continue
            if type(part) is Foreign:
                self.dropped[f"{param}.content[{place}]"] = None
                continue
            found = (
                self._call(part) if type(part) is Call else self._content(part, f"{param}.content[{place}]")
            )
            if seal and found:
                found[0].setdefault("thoughtSignature", seal)
                seal = None
            parts += found
        if seal:
            parts.append({"text": "", "thoughtSignature": seal})
        self._add("model", parts)

    def _call(self, call: Call) -> list[dict[str, Any]]:
        self._names[call.id] = call.name
        self._uncached(call)
        arguments = {"input": call.arguments} if call.custom else arguments_of(call.arguments)
        part: dict[str, Any] = {"functionCall": {"id": call.id, "name": call.name, "args": arguments}}
        if call.seal:
            part["thoughtSignature"] = call.seal
        return [part]

    def _add(self, role: str, parts: list[dict[str, Any]]) -> None:
        if not parts:
            return
        if self.contents:
            last = self.contents[-1]
            # Results answer the calls before them, one for one; words among them are best kept apart.
            apart = ("functionResponse" in last["parts"][0]) != ("functionResponse" in parts[0])
            if last["role"] == role and not apart:
                last["parts"] += parts
                return
        self.contents.append({"role": role, "parts": parts})

    def _sign(self) -> None:
        """Only the current turn is looked at, but signing all keeps a cached prefix the same later."""
        for content in self.contents:
            if content["role"] == "model":
                first = next((part for part in content["parts"] if "functionCall" in part), None)
                if first is not None:
                    first.setdefault("thoughtSignature", FILLER)

    def _uncached(self, part: Text | Image | Document | Call | Result) -> None:
        if part.cache is not None:
            self.dropped["cache_control"] = None


def _or_refused(found: dict[str, Any] | Failure) -> dict[str, Any]:
    if isinstance(found, Failure):
        raise Refused(found)
    return found


def arguments_of(text: str) -> dict[str, Any]:
    """A call's arguments as the object this provider wants; other text goes on under RAW_ARGUMENTS."""
    if not text.strip():
        return {}
    value = _parsed(text)
    return {RAW_ARGUMENTS: text} if value is None else value


def _response(text: str, *, failed: bool, attached: bool) -> dict[str, Any]:
    """A tool's result as an object: one that is an object already passes."""
    value = _parsed(text)
    if failed:
        return {"error": text if value is None else value}
    if value is not None:
        return value
    return {"result": text or "attached"} if attached else {"result": text}


def _parsed(text: str) -> dict[str, Any] | None:
    if text.lstrip()[:1] != "{":
        return None
    value = json_text.parse_or_none(text.encode(errors="replace"))
    return cast("dict[str, Any]", value) if type(value) is dict else None
