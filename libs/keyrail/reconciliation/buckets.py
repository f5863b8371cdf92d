"""Buckets of time with results in them: the shape of OpenAI's and Anthropic's pages alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keyrail.reconciliation.parsed import Misread


def of_money(page: Mapping[str, Any]) -> bool:
    """Whether the first result has an amount: the page is of costs, not of usage."""
    for bucket in page["data"]:
        results = bucket.get("results") if isinstance(bucket, dict) else None
        for result in results if isinstance(results, list) else ():
            return isinstance(result, dict) and "amount" in result
    return False


def results(bucket: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Its results. Raises Misread at one that is none."""
    for result in bucket.get("results") or ():
        if not isinstance(result, dict):
            raise Misread("a result is not an object")
        yield result
