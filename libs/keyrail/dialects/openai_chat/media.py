"""Images, files and sound in content parts, and the data URIs that they travel in."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from keyrail.contracts.failures import Failure
from keyrail.dialects import loose
from keyrail.dialects.canonical.parts import Audio, Document, Image, Text
from keyrail.dialects.canonical.request import refused

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_SPACES = b" \t\r\n"
_SCHEMES = ("http://", "https://", "gs://")
_MAGIC = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", "application/pdf"),
)
_VIDEOS = {"mp4": "video/mp4", "webm": "video/webm", "mov": "video/quicktime", "mpeg": "video/mpeg"}
_MISSING = "Missing required parameter: '{}'."


def parse_data_uri(uri: str) -> tuple[str | None, str] | None:
    """Media type and clean base64 of a data URI; None when it is none, or holds no base64.

    The media type may be missing, and any parameters may stand before the data. Data in percent encoding
    becomes base64; the alphabet for URLs, white space and missing padding are put right.
    """
    if uri[:5].lower() != "data:":
        return None
    head, comma, data = uri[5:].partition(",")
    if not comma:
        return None
    media, *parameters = [word.strip().lower() for word in head.split(";")]
    encoded = "base64" in parameters or media == "base64"
    if media == "base64" or "/" not in media:
        media = ""
    content = _base64(data) if encoded else base64.b64encode(unquote_to_bytes(data)).decode()
    return None if content is None else (media or _sniff(content), content)


def _base64(data: str) -> str | None:
    if "%" in data:
        data = unquote_to_bytes(data).decode("latin-1")
    if not data.isascii():
        return None
    raw = data.encode().translate(_URL_SAFE, _SPACES).rstrip(b"=")
    if raw.translate(None, _BASE64) or len(raw) % 4 == 1:
        return None
    return (raw + b"=" * (-len(raw) % 4)).decode()


def _sniff(content: str) -> str | None:
    return next((media for magic, media in _MAGIC if content.startswith(magic)), None)


def data_uri(media_type: str, data: str) -> str:
    """The URI that holds this base64."""
    return f"data:{media_type};base64,{data}"


def read_image(param: str, part: dict[str, Any]) -> Image | Document | Failure:
    """An `image_url` part. Some clients send PDFs in it too."""
    value: object = part.get("image_url")
    if type(value) is str:
        value = {"url": value}
    url = loose.text(loose.fields(value).get("url"))
    if url is None:
        return _missing(f"{param}.image_url.url")
    located = _locate(f"{param}.image_url.url", url)
    if isinstance(located, Failure):
        return located
    media, data, link = located
    if media is not None and not media.startswith("image/"):
        return Document(media_type=media, data=data, url=link)
    detail = loose.text(loose.fields(value).get("detail"))
    return Image(media_type=media, data=data, url=link, detail=detail)


def _locate(param: str, url: str) -> tuple[str | None, str | None, str | None] | Failure:
    """Media type, base64 and URL, of which one of the last two is there."""
    if url[:5].lower() == "data:":
        parsed = parse_data_uri(url)
        if parsed is None:
            return _invalid(param, "expected a data URI with base64 data")
        return parsed[0], parsed[1], None
    if not url.lower().startswith(_SCHEMES):
        return _invalid(param, "expected a data URI or a URL that begins with https://")
    return None, None, url


def read_file(param: str, part: dict[str, Any]) -> Document | Failure:
    """A `file` part: a data URI, bare base64, a URL, or the id of a file at the provider."""
    file = loose.fields(part.get("file"))
    name = loose.text(file.get("filename"))
    content = loose.text(file.get("file_data"))
    if content is None:
        file_id = loose.text(file.get("file_id"))
        if file_id is None:
            return _missing(f"{param}.file.file_data")
        if file_id.lower().startswith(_SCHEMES):  # as clients of Gemini give it
            return Document(media_type=_file_type(file, name), url=file_id, name=name)
        return Document(file_id=file_id, name=name)
    param = f"{param}.file.file_data"
    if ":" not in content[:8]:
        bare = _base64(content)
        if bare is None:
            return _invalid(param, "expected a data URI with base64 data")
        return Document(media_type=_sniff(bare) or _file_type(file, name), data=bare, name=name)
    located = _locate(param, content)
    if isinstance(located, Failure):
        return located
    media, data, url = located
    return Document(media_type=media or _file_type(file, name), data=data, url=url, name=name)


def _file_type(file: dict[str, Any], name: str | None) -> str:
    stated = loose.text(file.get("format"))
    if stated is not None and "/" in stated:
        return stated
    return "text/plain" if name is not None and name.lower().endswith((".txt", ".md")) else "application/pdf"


def read_link(param: str, part: dict[str, Any], kind: str) -> Document | Failure:
    """Mistral's `document_url`, OpenRouter's `video_url`: a string, or an object with `url`."""
    value: object = part.get(kind)
    url = value if type(value) is str else loose.text(loose.fields(value).get("url"))
    if not url:
        return _missing(f"{param}.{kind}")
    located = _locate(f"{param}.{kind}", url)
    if isinstance(located, Failure):
        return located
    media, data, link = located
    if media is None and kind == "video_url":
        ending = urlsplit(url).path.rpartition(".")[2].lower() if link else ""
        media = _VIDEOS.get(ending, "video/mp4")
    return Document(media_type=media, data=data, url=link, name=loose.text(part.get("document_name")))


def read_audio(param: str, part: dict[str, Any]) -> Audio | Failure:
    """An `input_audio` part."""
    sound = loose.fields(part.get("input_audio"))
    data = loose.text(sound.get("data"))
    if data is None:
        return _missing(f"{param}.input_audio.data")
    parsed = parse_data_uri(data)
    media, data = parsed if parsed is not None else (None, data)
    format_ = loose.text(sound.get("format")) or (media or "").rpartition("/")[2]
    return Audio(data, format_) if format_ else _missing(f"{param}.input_audio.format")


def write_image(image: Image) -> dict[str, Any]:
    """The `image_url` part."""
    if image.data is not None:
        media = image.media_type or _sniff(image.data) or "image/png"
        target: dict[str, Any] = {"url": data_uri(media, image.data)}
    else:
        target = {"url": image.url or ""}
    if image.detail is not None:
        target["detail"] = image.detail
    return {"type": "image_url", "image_url": target}


def write_document(document: Document, *, links: bool = False) -> dict[str, Any] | Failure:
    """A `file` part; a text in plain words. `links`: the provider fetches files (all fetch images)."""
    media = document.media_type or "application/pdf"
    if document.text is not None:
        return {"type": "text", "text": _titled(document, document.text)}
    if media.startswith("video/") and document.file_id is None:
        url = document.url or data_uri(media, document.data or "")
        return {"type": "video_url", "video_url": {"url": url}}
    if document.data is not None:
        if media.startswith("image/"):
            return write_image(Image(media, document.data))
        text = _decoded(document.data) if media.startswith("text/") else None
        if text is not None:
            return {"type": "text", "text": _titled(document, text)}
        name = document.name or f"document.{media.rpartition('/')[2]}"
        return {"type": "file", "file": {"filename": name, "file_data": data_uri(media, document.data)}}
    if document.url is not None and media.startswith("image/"):
        return write_image(Image(url=document.url))
    if document.url is not None and links:
        name = document.name or "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": document.url}}
    if document.file_id is not None and document.file_id.startswith("file-"):
        return {"type": "file", "file": {"file_id": document.file_id}}
    if document.file_id is not None:
        return refused("file_id", "A file that was uploaded to another provider can't be used here.")
    return refused("document", "This provider takes documents as data only, not by URL.")


def _titled(document: Document, text: str) -> str:
    return f"{document.name}:\n\n{text}" if document.name else text


def _decoded(data: str) -> str | None:
    try:
        return base64.b64decode(data).decode()
    except (binascii.Error, ValueError):
        return None


def write_audio(audio: Audio) -> dict[str, Any]:
    """The `input_audio` part."""
    return {"type": "input_audio", "input_audio": {"data": audio.data, "format": audio.format}}


def write_part(part: Text | Image | Document, *, links: bool) -> dict[str, Any] | Failure:
    """The content part for it, without a cache breakpoint."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    return write_image(part) if isinstance(part, Image) else write_document(part, links=links)


def _missing(param: str) -> Failure:
    failure = refused(param, _MISSING.format(param))
    return failure.replace(code="missing_required_parameter")


def _invalid(param: str, rule: str) -> Failure:
    failure = refused(param, f"Invalid value for '{param}': {rule}.")
    return failure.replace(code="invalid_value")
