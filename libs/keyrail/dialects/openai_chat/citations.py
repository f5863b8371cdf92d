"""Sources of a text, from any dialect, as `url_citation` annotations."""

from __future__ import annotations

from typing import Any

from keyrail.dialects import loose


def annotation(value: object, *, start: int, end: int) -> dict[str, Any] | None:
    """The annotation for one source; None for what has no address (a page of a document, say).

    `start` and `end` are the text's own borders, for a source that does not say which words it is for.
    """
    source = loose.fields(value)
    for name in ("url_citation", "web", "retrievedContext"):
        source = {**source, **loose.fields(source.get(name))}
    url = loose.text(source.get("url")) or loose.text(source.get("uri"))
    if url is None:
        return None
    first = _place(source, "start_index", "startIndex")
    last = _place(source, "end_index", "endIndex")
    whole = first is None or last is None
    return {
        "type": "url_citation",
        "url_citation": {
            "url": url,
            "title": loose.text(source.get("title")) or "",
            "start_index": start if whole else first,
            "end_index": end if whole else last,
        },
    }


def _place(source: dict[str, Any], *names: str) -> int | None:
    return next((found for name in names if (found := loose.integer(source.get(name))) is not None), None)
