"""The `providers` section: overrides of built-in providers, and providers declared without code."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, cast, get_args
from urllib.parse import urlsplit

from keyrail.config.prices import read_discount, read_multipliers, read_prices
from keyrail.config.problems import quoted
from keyrail.config.reader import Entry, Reader
from keyrail.contracts.config import Auth, ProviderConfig
from keyrail.contracts.quirks import Extra, Quirks, Thoughts
from keyrail.contracts.slips import Dialect

FIELDS: Final = (
    "base_url",
    "dialect",
    "speaks",
    "needs_key",
    "auth",
    "quirks",
    "prices",
    "discount",
    "multipliers",
)
DIALECTS: Final[tuple[Dialect, ...]] = (
    "openai-chat",
    "anthropic-messages",
    "gemini-generate",
    "openai-responses",
)
SPOKEN: Final[tuple[Dialect, ...]] = (*DIALECTS, "openai-embeddings")
ANY_MODEL: Final = "*"
_AUTHS: Final = (*get_args(Auth), "none")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_URL = re.compile(
    r"https?://([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%:+,=/-]*)?"
)
_ENDS: Final = ("/chat/completions", "/messages", "/responses", "/embeddings", "/models")


def provider_of(
    reader: Reader, name: str, entry: Entry, builtins: Mapping[str, ProviderConfig]
) -> ProviderConfig | None:
    """The provider, with what is known of a built-in one of that name where nothing is said; None: it is
    wrong."""
    if not _NAME.fullmatch(name):
        reader.bad(
            entry, "a provider's name is 1 to 64 of a-z, 0-9 and -, beginning with a letter or a digit"
        )
    fields = reader.fields(entry, FIELDS)
    if fields is None:
        return None
    known = builtins.get(name)
    base = known or ProviderConfig(name=name, base_url="", needs_key=False)
    if "base_url" not in fields and known is None:
        hint = reader.report.hint(name, builtins)
        reader.bad(entry, f"base_url is missing, and {quoted(name)} is not a built-in provider{hint}")
        base = None
    changes: dict[str, Any] = {}
    for field, read in _READERS.items():
        if field in fields and (value := read(reader, fields[field])) is not None:
            changes |= value
        elif field in fields:
            base = None
    if base is None:
        return None
    if "dialect" in changes and changes["dialect"] != base.dialect and "speaks" not in changes:
        changes["speaks"] = ()  # what a built-in provider speaks besides is true of its own place only
    return base.replace(**changes)


def _read_base_url(reader: Reader, entry: Entry) -> dict[str, Any] | None:
    """Without trailing slashes. Problems do not repeat the URL: it may hold a password."""
    url = reader.text(entry)
    if url is None:
        return None
    problem = _url_problem(url)
    if problem:
        reader.bad(entry, problem)
        return None
    return {"base_url": url.rstrip("/")}


def _url_problem(url: str) -> str | None:
    if not url.startswith(("http://", "https://")):
        return "must begin with http:// or https://"
    authority = re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0]
    if "@" in authority:
        return "must not carry a user name or password"
    if "?" in url or "#" in url:
        return "must not carry a query or a fragment"
    if not _URL.fullmatch(url):
        return "is not a URL of the form https://host:port/path"
    try:
        if urlsplit(url).port == 0:
            return "has a port that does not exist"
    except ValueError:
        return "has a host or port that does not exist"
    for end in _ENDS:
        if url.rstrip("/").endswith(end):
            return f"must end before {end}"
    return None


def _read_dialect(reader: Reader, entry: Entry) -> dict[str, Any] | None:
    dialect = _one_of(reader, entry, DIALECTS, "dialect")
    return None if dialect is None else {"dialect": dialect}


def _read_speaks(reader: Reader, entry: Entry) -> dict[str, Any] | None:
    items = reader.items(entry)
    if items is None:
        return None
    found = [_one_of(reader, item, SPOKEN, "dialect") for item in items]
    return None if None in found else {"speaks": tuple(cast("list[Dialect]", found))}


def _read_needs_key(reader: Reader, entry: Entry) -> dict[str, Any] | None:
    needed = reader.flag(entry)
    return None if needed is None else {"needs_key": needed}


def _read_auth(reader: Reader, entry: Entry) -> dict[str, Any] | None:
    style = _one_of(reader, entry, _AUTHS, "auth style")
    if style is None:
        return None
    return {"needs_key": False} if style == "none" else {"auth": style, "needs_key": True}


def _one_of(reader: Reader, entry: Entry, known: Collection[str], what: str) -> str | None:
    text = reader.text(entry)
    if text is not None and text not in known:
        hint = reader.report.hint(text, known)
        reader.bad(entry, f"unknown {what} {quoted(text)}{hint}; known: {', '.join(known)}")
        return None
    return text


def _read_quirks(reader: Reader, entry: Entry) -> dict[str, Any] | None:
    fields = reader.fields(entry, _QUIRKS)
    if fields is None:
        return None
    values = {name: _QUIRKS[name](reader, field) for name, field in fields.items()}
    return None if None in values.values() else {"quirks": Quirks(**cast("Any", values))}


def _names(reader: Reader, entry: Entry) -> tuple[str, ...] | None:
    items = reader.items(entry)
    if items is None:
        return None
    found = [_name(reader, item) for item in items]
    return None if None in found else tuple(cast("list[str]", found))


def _name(reader: Reader, entry: Entry) -> str | None:
    text = reader.text(entry)
    if text is not None and not _FIELD.fullmatch(text):
        reader.bad(entry, "is not the name of a field: letters, digits and _")
        return None
    return text


def _renaming(reader: Reader, entry: Entry) -> dict[str, str] | None:
    fields = reader.fields(entry)
    if fields is None:
        return None
    found = {name: _name(reader, field) for name, field in fields.items()}
    return None if None in found.values() else cast("dict[str, str]", found)


def _thoughts(reader: Reader, entry: Entry) -> Thoughts | None:
    return cast("Thoughts | None", _one_of(reader, entry, get_args(Thoughts), "field"))


def _extras(reader: Reader, entry: Entry) -> tuple[Extra, ...] | None:
    items = reader.items(entry)
    if items is None:
        return None
    found = [_one_of(reader, item, get_args(Extra), "extra") for item in items]
    return None if None in found else tuple(cast("list[Extra]", found))


def _flag(reader: Reader, entry: Entry) -> bool | None:
    return reader.flag(entry)


_QUIRKS: Final[dict[str, Callable[[Reader, Entry], object]]] = {
    "allow": _names,
    "drop": _names,
    "rename": _renaming,
    "send_stream_options": _flag,
    "drop_message_nulls": _flag,
    "drop_in_messages": _names,
    "roles": _renaming,
    "thoughts": _thoughts,
    "takes": _extras,
    "text_results": _flag,
    "short_call_ids": _flag,
}

_READERS: Final[dict[str, Callable[[Reader, Entry], dict[str, Any] | None]]] = {
    "base_url": _read_base_url,
    "dialect": _read_dialect,
    "speaks": _read_speaks,
    "needs_key": _read_needs_key,
    "auth": _read_auth,
    "quirks": _read_quirks,
    "prices": read_prices,
    "discount": read_discount,
    "multipliers": read_multipliers,
}
