"""What a whole answer says, and whether it holds. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from keyrail.contracts.failures import Failure
from keyrail.contracts.slips import Facts
from keyrail.dialects import json_text, registry
from keyrail.dialects.canonical import events
from keyrail.dialects.canonical.answer import Answer, Finish
from keyrail.dialects.canonical.parts import Call, Refusal, Text

_SPACE = re.compile(r"\s+")


class Grade(IntEnum):
    """The better the lower."""

    VALID = 0
    CUT = 1  # at a limit of tokens, or of the window
    FILTERED = 2  # refused, or blocked
    MALFORMED = 3  # not the JSON that was asked for, or arguments of a call that are none
    EMPTY = 4  # nothing, or nothing that can be read


@dataclass(slots=True)
class Said:
    """`calls`: name and arguments. `words`: the texts of all candidates, in order."""

    words: list[str] = field(default_factory=list[str])
    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    custom: bool = False
    refused: bool = False
    finish: Finish | None = None


def read(facts: Facts, body: bytes) -> Said | None:
    """The answer that a client of this dialect would read; None: nobody here can read it."""
    try:
        wire = registry.outbound(facts.dialect)
    except registry.UnknownDialect:
        return None
    if not facts.stream:
        answer = wire.parse_answer(body, "")
        return Said() if isinstance(answer, Failure) else _whole(answer)
    reader = wire.reader("")
    return _streamed([*reader.feed(body), *reader.end()])


def grade(facts: Facts, said: Said | None) -> Grade:
    """Whether the answer is what was asked for. One that can't be looked into counts as valid."""
    if said is None:
        return Grade.VALID
    if said.finish in ("length", "context"):
        return Grade.CUT
    if said.refused or said.finish in ("content_filter", "error"):
        return Grade.FILTERED
    if not said.calls and not any(said.words):
        return Grade.EMPTY
    if not said.custom and not all(_is_json(arguments or "{}") for _, arguments in said.calls):
        return Grade.MALFORMED
    wants = facts.json_mode or facts.json_schema
    if wants and not said.calls and not all(_is_json(words) for words in said.words):
        return Grade.MALFORMED
    return Grade.VALID


def meaning(said: Said | None, body: bytes) -> str:
    """Equal for answers that say the same: JSON in any order of its names, words in any case and spacing."""
    if said is None:
        return body.decode("utf-8", "replace")
    words = [_normal(text) for text in said.words]
    return json.dumps([words, sorted((name, _normal(arguments)) for name, arguments in said.calls)])


def _normal(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return _SPACE.sub(" ", text).strip().rstrip(".!").casefold()


def _is_json(text: str) -> bool:
    return json_text.parse_or_none(text.encode()) is not None


def _whole(answer: Answer) -> Said:
    said = Said()
    for candidate in answer.candidates:
        texts = [part.text for part in candidate.parts if isinstance(part, Text)]
        said.words.append("".join(texts))
        calls = [part for part in candidate.parts if isinstance(part, Call)]
        said.calls += [(call.name, call.arguments) for call in calls]
        said.custom = said.custom or any(call.custom for call in calls)
        said.refused = said.refused or any(isinstance(part, Refusal) for part in candidate.parts)
        said.finish = _worse(said.finish, candidate.finish)
    return said


def _streamed(told: Iterable[events.Event]) -> Said:
    said = Said()
    words: dict[int, list[str]] = {}
    calls: dict[tuple[int, int], tuple[str, list[str]]] = {}
    for event in told:
        match event:
            case events.TextPiece():
                words.setdefault(event.candidate, []).append(event.text)
            case events.RefusalPiece():
                said.refused = True
            case events.CallBegin():
                calls[event.candidate, event.position] = (event.name, [event.arguments])
                said.custom = said.custom or event.custom
            case events.ArgumentsPiece():
                calls.setdefault((event.candidate, event.position), ("", []))[1].append(event.text)
            case events.End():
                said.finish = _worse(said.finish, event.finish)
            case _:
                pass
    said.words = ["".join(words[candidate]) for candidate in sorted(words)]
    said.calls = [(name, "".join(pieces)) for name, pieces in calls.values()]
    return said


_BAD: Sequence[Finish] = ("length", "context", "content_filter", "error")


def _worse(before: Finish | None, now: Finish | None) -> Finish | None:
    return before if before in _BAD else now
