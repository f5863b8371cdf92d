"""A file to lines. Which report it is, its content says, never its name."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from keyrail.reconciliation import anthropic, openai, openrouter, plain
from keyrail.reconciliation.parsed import MOST_BYTES, Amounts, Identity, Misread, NotAReport, Parsed

_JSON: Final = msgspec.json.Decoder(float_hook=Decimal)
_ROWS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[Identity, Amounts] | None]]] = {
    openai.USAGE: openai.row,
    openai.COSTS: openai.row,
    anthropic.USAGE: anthropic.row,
    anthropic.CONSOLE_COSTS: anthropic.row,
    openrouter.GENERATIONS: openrouter.row,
    plain.PLAIN: plain.row,
}
_Found = tuple[str, Mapping[str, Any]]  # where a row is, and what it says


def read(data: bytes) -> Parsed:
    """The report that a file holds. Raises NotAReport with a sentence that says why it is none.

    Rows that are not understood are noted in the answer and do not count. JSON may be one page, or an array
    of several.
    """
    if len(data) > MOST_BYTES:
        raise NotAReport(f"it is larger than {MOST_BYTES >> 20} MB")
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise NotAReport("it is empty")
    return _json(data.removeprefix(b"\xef\xbb\xbf")) if start[:1] in b"{[" else _table(data)


def _table(data: bytes) -> Parsed:
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    try:
        head = text.readline(1 << 16)
        text.seek(0)
        rows = csv.reader(text, delimiter=max(",\t;", key=head.count), strict=True)
        columns = [name.strip().lower() for name in next(rows, [])]
        if len(set(columns)) != len(columns):
            raise NotAReport("line 1: a column is there twice")
        known = (module.csv_source(set(columns)) for module in (openai, anthropic, openrouter, plain))
        source = next((found for found in known if found), None)
        if source is None:
            raise NotAReport(_unknown_columns(set(columns)))
        parsed = Parsed(source)
        _take(parsed, _cells(parsed, rows, columns), _ROWS[source])
    except UnicodeDecodeError:
        raise NotAReport("it is not text in UTF-8") from None
    except csv.Error as error:
        raise NotAReport(f"it is not a CSV: {error}") from None
    return parsed


def _cells(parsed: Parsed, rows: Any, columns: list[str]) -> Iterator[_Found]:
    for cells in rows:
        if not cells:
            continue
        where = f"line {rows.line_num}"
        if len(cells) != len(columns):
            parsed.rows += 1
            parsed.wrong(where, f"has {len(cells)} cells, the heading {len(columns)}")
            continue
        yield where, dict(zip(columns, cells, strict=True))


def _unknown_columns(columns: set[str]) -> str:
    if "day" in columns and (surplus := columns - plain.COLUMNS):
        return f"line 1: {len(surplus)} columns are not known; a CSV of your own has: {_named(plain.COLUMNS)}"
    return (
        "line 1: the columns are those of no report that is known"
        f" (OpenAI, Anthropic, OpenRouter, or {_named(plain.COLUMNS)})"
    )


def _named(columns: frozenset[str]) -> str:
    return ", ".join(sorted(columns, key=["day", "key", "model", *plain.NUMBERS].index))


def _json(data: bytes) -> Parsed:
    try:
        content = _JSON.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAReport(f"it is not JSON{_line(data, error)}") from None
    pages: list[Any] = content if isinstance(content, list) else [content]
    parsed: Parsed | None = None
    for number, page in enumerate(pages):
        if not isinstance(page, dict) or not isinstance(page.get("data"), list):
            raise NotAReport("the JSON is no page of a report: it has no list `data`")
        parsed = _page(parsed, page, f"[{number}]." if len(pages) > 1 else "")
    if parsed is None:
        raise NotAReport("it has no page")
    if pages[-1].get("has_more") is True:
        parsed.wrong("the end", "has_more: the report has further pages, which are not in this file")
    return parsed


def _line(data: bytes, error: Exception) -> str:
    """The line of a decoder's byte position."""
    at = str(error).rpartition("(byte ")[2].removesuffix(")")
    if not at.isdigit():
        return ""
    line = data.count(b"\n", 0, int(at)) + 1
    return f" (line {line})"


def _page(parsed: Parsed | None, page: dict[str, Any], prefix: str) -> Parsed:
    """Add a page. Pages of one file are of one report; which one it is a page with content says."""
    data = page["data"]
    if openrouter.is_page(page):
        return _into(parsed, openrouter.ACTIVITY, _items(data, prefix), openrouter.item)
    if anthropic.is_page(page):
        found = _results(data, prefix, anthropic.bucket)
        return _into(parsed, anthropic.page_source(page), found, anthropic.result)
    if openai.is_page(page):
        found = _results(data, prefix, openai.bucket)
        return _into(parsed, openai.page_source(page), found, openai.row)
    if data:
        raise NotAReport("the JSON is a page of no report that is known (OpenAI, Anthropic, OpenRouter)")
    return parsed or Parsed("empty")


def _into(
    parsed: Parsed | None,
    source: str,
    found: Iterator[_Found | tuple[str, Misread]],
    understood: Callable[[Mapping[str, Any]], tuple[Identity, Amounts] | None],
) -> Parsed:
    into = parsed if parsed is not None and parsed.source not in ("empty",) else Parsed(source)
    rows = list(found)
    if into.source != source:
        if rows:
            raise NotAReport("its pages are of different reports: give a file for each")
        return into
    if not rows and parsed is None:
        return Parsed("empty")
    _take(into, iter(rows), understood)
    return into


def _items(data: list[Any], prefix: str) -> Iterator[_Found | tuple[str, Misread]]:
    for number, found in enumerate(data):
        where = f"{prefix}data[{number}]"
        yield (where, found) if isinstance(found, dict) else (where, Misread("is not an object"))


def _results(
    data: list[Any], prefix: str, bucket: Callable[[Mapping[str, Any]], Iterator[Mapping[str, Any]]]
) -> Iterator[_Found | tuple[str, Misread]]:
    for where, found in _items(data, prefix):
        if isinstance(found, Misread) or not isinstance(found.get("results"), list):
            yield where, Misread("is not a bucket with a list `results`")
            continue
        try:
            for number, result in enumerate(bucket(found)):
                yield f"{where}.results[{number}]", result
        except Misread as error:
            yield where, error


def _take(
    parsed: Parsed,
    found: Iterator[_Found | tuple[str, Misread]] | Iterator[_Found],
    understood: Callable[[Mapping[str, Any]], tuple[Identity, Amounts] | None],
) -> None:
    for where, values in found:
        parsed.rows += 1
        try:
            if isinstance(values, Misread):
                raise values
            entry = understood(values)
            if entry is None:
                parsed.empty += 1
            else:
                parsed.add(*entry)
        except Misread as error:
            parsed.wrong(where, str(error))
