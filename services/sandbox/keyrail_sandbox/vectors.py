"""Embeddings: unit vectors that are a function of the text."""

from __future__ import annotations

import math
from array import array
from hashlib import blake2b

DIMENSIONS = 16
"""How many numbers a vector has unless the request says."""

MOST_DIMENSIONS = 4096


def vector(text: str, dimensions: int | None) -> list[float]:
    """Numbers between -1 and 1, of length 1 together; equal texts have equal ones."""
    size = dimensions or DIMENSIONS
    data = b"".join(
        blake2b(text.encode(), digest_size=64, salt=block.to_bytes(16, "little")).digest()
        for block in range((size + 63) // 64)
    )
    numbers = [byte - 127.5 for byte in data[:size]]
    length = math.sqrt(sum(number * number for number in numbers))
    return [round(number / length, 7) for number in numbers]


def as_bytes(numbers: list[float]) -> bytes:
    """The numbers as little-endian 32-bit floats."""
    return array("f", numbers).tobytes()
