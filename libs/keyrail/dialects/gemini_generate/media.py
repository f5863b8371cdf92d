"""Images, documents and sound in a request."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.parts import Audio, Document, Image
from keyrail.dialects.canonical.request import refused
from keyrail.dialects.gemini_generate.models import takes_addresses

_FILES_HOST = "generativelanguage.googleapis.com"
_FILES_PATH = re.compile(r"/v1(alpha|beta)?/files/[^/]+")
_VIDEO_HOSTS = frozenset({"youtube.com", "www.youtube.com", "m.youtube.com", "youtu.be"})
_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
}
_SOUNDS = {"mp3": "audio/mpeg", "pcm16": "audio/pcm", "m4a": "audio/mp4", "oga": "audio/ogg"}


def image_part(image: Image, *, model: str, param: str) -> dict[str, Any] | Failure:
    """The part for a picture."""
    if image.data is not None:
        return _inline(image.media_type or "image/png", image.data)
    if image.url is not None:
        return _address(image.url, image.media_type, model=model, param=param)
    return refused(param, "This image has neither data nor a URL.")


def document_part(document: Document, *, model: str, param: str) -> dict[str, Any] | Failure:
    """The part for a file. A file id of another provider names nothing here."""
    if document.text is not None:
        return {"text": document.text}
    if document.data is not None:
        return _inline(document.media_type or "application/pdf", document.data)
    if document.url is not None:
        return _address(document.url, document.media_type, model=model, param=param)
    if document.file_id is not None:
        if _place(document.file_id)[1]:
            return _file(document.file_id, document.media_type)
        return refused(param, "A file id of another provider can't be used with this model: send the file.")
    return refused(param, "This file has neither data, a URL nor text.")


def audio_part(audio: Audio) -> dict[str, Any]:
    """The part for sound."""
    return _inline(_SOUNDS.get(audio.format, f"audio/{audio.format}"), audio.data)


def _inline(media_type: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _file(uri: str, media_type: str | None) -> dict[str, Any]:
    return {"fileData": {"mimeType": media_type, "fileUri": uri} if media_type else {"fileUri": uri}}


def _address(url: str, media_type: str | None, *, model: str, param: str) -> dict[str, Any] | Failure:
    """The part for what an address names.

    This gateway fetches none: an address may lead into the network it runs in. Google's own stores and
    YouTube are taken by all models, others by those that fetch for themselves.
    """
    if url.startswith("data:"):
        return _data_url(url, media_type, param)
    host, is_file = _place(url)
    if host in _VIDEO_HOSTS:
        return _file(url, media_type or "video/mp4")
    if is_file or (host and takes_addresses(model)):
        ending = re.split("[?#]", url, maxsplit=1)[0].rpartition(".")[2].lower()
        return _file(url, media_type or _TYPES.get(ending))
    return refused(
        param,
        f"{model} takes no files by this address, and this gateway fetches none: send the content as base64.",
    )


def _data_url(url: str, media_type: str | None, param: str) -> dict[str, Any] | Failure:
    head, comma, data = url[5:].partition(",")
    kind, *options = head.split(";")
    if not comma or "base64" not in options:
        return refused(param, "This data URL is not base64.")
    return _inline(media_type or kind or "image/png", data)


def _place(url: str) -> tuple[str, bool]:
    """Host of an http(s) URL, else empty; and whether the URL names a file in Google's own stores."""
    if url.startswith("gs://"):
        return "", True
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "", False
    if parts.scheme not in ("http", "https"):
        return "", False
    return host, host == _FILES_HOST and _FILES_PATH.fullmatch(parts.path) is not None
