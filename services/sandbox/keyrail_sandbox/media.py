"""What types of media a request holds, as far as it says so."""

from __future__ import annotations


def of_url(url: object) -> str:
    """The type in a data URI; `url` for anything that lies elsewhere."""
    if isinstance(url, str) and url.startswith("data:"):
        return url[5:].partition(",")[0].partition(";")[0] or "text/plain"
    return "url"
