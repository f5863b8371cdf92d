"""Embeddings in the canonical form: what is asked, and the vectors."""

from __future__ import annotations

from typing import Literal

import msgspec

from keyrail.contracts.usage import Usage

Encoding = Literal["float", "base64"]


class EmbeddingRequest(msgspec.Struct, gc=False, kw_only=True):
    """Texts to embed. `dimensions` None: the model's own. `encoding` is how the client reads vectors.

    `dropped` names the parameters that the reader already had to leave out.
    """

    texts: list[str]
    dimensions: int | None = None
    encoding: Encoding = "float"
    user: str | None = None
    dropped: list[str] = []


class EmbeddingAnswer(msgspec.Struct, gc=False, kw_only=True):
    """A vector for each text, in their order. `model` as the provider gave it."""

    vectors: list[list[float]]
    usage: Usage
    model: str | None = None
