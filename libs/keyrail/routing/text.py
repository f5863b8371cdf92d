"""Features of a prompt: how often hashed words occur, enough to compare prompts and not enough to read one.

Order, numbers and all but the first and last pages are dropped, words share buckets. Still, whoever can
compute features can test a list of words against stored ones; with a key only its holder can.
"""

from __future__ import annotations

import re
import struct
from base64 import b64decode, b64encode
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

BUCKETS = 1 << 15
MOST_FEATURES = 256
PAGE = 4_096
"""Characters at the beginning and at the end of a prompt that are looked at."""

_WORD_CHARACTERS = 24  # of a word; longer ones are hashes and encoded data, not language
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[0-9]+|[^\W\d_]+|[^\w\s]")
_PAIR = struct.Struct("<HB")


@dataclass(frozen=True, slots=True)
class Features:
    """Buckets in ascending order, and beside each how often it occurs (1 to 255)."""

    buckets: tuple[int, ...]
    counts: tuple[int, ...]

    def pack(self) -> str:
        """As base64: 3 bytes for each bucket."""
        pairs = zip(self.buckets, self.counts, strict=True)
        return b64encode(b"".join(_PAIR.pack(bucket, count) for bucket, count in pairs)).decode()


def unpack(packed: str) -> Features:
    """The inverse of `Features.pack`. Raises ValueError for anything else."""
    raw = b64decode(packed, validate=True)
    if len(raw) % _PAIR.size:
        raise ValueError("packed features are pairs of three bytes")
    pairs = list(_PAIR.iter_unpack(raw))
    buckets = tuple(bucket for bucket, _ in pairs)
    counts = tuple(count for _, count in pairs)
    ascending = all(a < b for a, b in zip(buckets, buckets[1:], strict=False))
    if not ascending or 0 in counts or (buckets and buckets[-1] >= BUCKETS):
        raise ValueError("packed features are not in order")
    return Features(buckets, counts)


def features(text: str, key: bytes = b"") -> Features:
    """Of a prompt, the same in every process. `key`: at most 64 bytes; features of different keys have
    nothing in common."""
    if len(text) > 2 * PAGE:
        text = f"{text[:PAGE]}\n{text[-PAGE:]}"
    found: Counter[int] = Counter()
    for word, count in Counter(_WORDS.findall(text.lower())).items():
        found[_bucket("0" if word.isdigit() else word[:_WORD_CHARACTERS], key)] += count
    # The lowest buckets: a sample of the words that is the same one in every prompt, so long prompts compare.
    buckets = sorted(found)[:MOST_FEATURES]
    return Features(tuple(buckets), tuple(min(found[bucket], 255) for bucket in buckets))


@lru_cache(maxsize=20_000)
def _bucket(word: str, key: bytes) -> int:
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4, key=key).digest()
    return int.from_bytes(digest, "little") % BUCKETS
