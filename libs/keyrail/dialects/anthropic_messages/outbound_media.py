"""Images and documents as blocks of this dialect."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.parts import Document, Image
from keyrail.dialects.canonical.request import refused

_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_BEGINNINGS = {"/9j/": "image/jpeg", "iVBOR": "image/png", "R0lGOD": "image/gif", "UklGR": "image/webp"}
_TEXTS = ("text/", "application/json", "application/xml")


def image_block(image: Image, path: str) -> dict[str, Any] | Failure:
    """The image; a Failure for formats that no model takes."""
    if image.data is None:
        if image.url is None:
            return refused(path, "An image needs its data or a URL.")
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    media_type = "image/jpeg" if image.media_type == "image/jpg" else image.media_type
    if media_type not in _IMAGES:
        media_type = next(
            (type_ for start, type_ in _BEGINNINGS.items() if image.data.startswith(start)), None
        )
    if media_type is None:
        return refused(path, "Anthropic's models take images as JPEG, PNG, GIF or WebP.")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": image.data}}


def document_block(document: Document, path: str) -> dict[str, Any] | Failure:
    """The document; a Failure for files that only another provider has, or formats that no model takes."""
    source = _source(document, path)
    if isinstance(source, Failure):
        return source
    block: dict[str, Any] = {"type": "document", "source": source}
    if document.name:
        block["title"] = document.name
    if document.citations:
        block["citations"] = {"enabled": True}
    return block


def _source(document: Document, path: str) -> dict[str, Any] | Failure:
    if document.text is not None:
        return {"type": "text", "media_type": "text/plain", "data": document.text}
    if document.url is not None:
        return {"type": "url", "url": document.url}
    if document.data is None:
        return refused(path, "A file that is stored at one provider can't be read by another.")
    media_type = document.media_type or "application/pdf"
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": document.data}
    if not media_type.startswith(_TEXTS):
        return refused(path, f"Anthropic's models take PDF and plain text, not '{media_type}'.")
    try:
        text = base64.b64decode(document.data, validate=True).decode()
    except (binascii.Error, ValueError):
        return refused(path, "The document is no text in UTF-8 as base64.")
    return {"type": "text", "media_type": "text/plain", "data": text}
