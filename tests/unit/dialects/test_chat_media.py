"""Data URIs and media parts: what clients send, and what providers get."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrail.contracts.failures import Failure
from keyrail.dialects.canonical.parts import Audio, Document, Image
from keyrail.dialects.openai_chat import media

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"data:image/png;base64,{PNG}", ("image/png", PNG)),
        (f"DATA:IMAGE/PNG;BASE64,{PNG}", ("image/png", PNG)),
        (f"data:;base64,{PNG}", ("image/png", PNG)),
        (f"data:base64,{PNG}", ("image/png", PNG)),
        ("data:text/plain;charset=utf-8;base64,aGk=", ("text/plain", "aGk=")),
        ("data:text/plain;charset=utf-8;base64,aGk", ("text/plain", "aGk=")),
        ("data:text/plain;base64,aG k\n=", ("text/plain", "aGk=")),
        ("data:text/plain;base64,aGk%3D", ("text/plain", "aGk=")),
        ("data:application/x;base64,-_-_", ("application/x", "+/+/")),
        ("data:text/plain,h%C3%A9", ("text/plain", "aMOp")),
        ("data:,hi", (None, "aGk=")),
        ("data:image/png;base64", None),
        ("data:image/png;base64,not base64!", None),
        ("data:image/png;base64,abcde", None),
        ("data:image/png;base64,ä", None),
        ("https://example.com/a.png", None),
    ],
)
def test_a_data_uri_is_read_whatever_its_parameters(uri: str, expected: object) -> None:
    assert media.parse_data_uri(uri) == expected


@given(st.binary(max_size=300), st.sampled_from([None, "image/png", "application/pdf"]))
def test_any_bytes_come_back_out_of_a_data_uri(data: bytes, media_type: str | None) -> None:
    uri = media.data_uri(media_type or "", base64.b64encode(data).decode())
    found = media.parse_data_uri(uri)
    assert found is not None
    assert base64.b64decode(found[1]) == data
    assert media_type is None or found[0] == media_type


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading_of_data_uris(text: str) -> None:
    for uri in (text, f"data:{text}", f"data:;base64,{text}"):
        found = media.parse_data_uri(uri)
        if found is not None:
            base64.b64decode(found[1], validate=True)


def test_an_image_is_data_or_a_link_and_keeps_its_detail() -> None:
    part: dict[str, Any] = {"image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}
    assert media.read_image("p", part) == Image("image/png", PNG, detail="low")
    assert media.read_image("p", {"image_url": "https://x/y.png"}) == Image(url="https://x/y.png")
    pdf = media.read_image("p", {"image_url": {"url": f"data:application/pdf;base64,{PDF}"}})
    assert pdf == Document("application/pdf", PDF)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({}, "p.image_url.url"),
        ({"image_url": 7}, "p.image_url.url"),
        ({"image_url": {"url": "data:image/png;base64,###"}}, "p.image_url.url"),
        ({"image_url": {"url": "file:///etc/passwd"}}, "p.image_url.url"),
    ],
)
def test_an_image_that_is_none_is_refused_by_name(part: dict[str, Any], param: str) -> None:
    failure = media.read_image("p", part)
    assert isinstance(failure, Failure)
    assert (failure.status, failure.param) == (400, param)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ({"file_data": f"data:application/pdf;base64,{PDF}"}, Document("application/pdf", PDF)),
        ({"file_data": PDF, "filename": "a.pdf"}, Document("application/pdf", PDF, name="a.pdf")),
        ({"file_data": "aGk=", "filename": "a.txt"}, Document("text/plain", "aGk=", name="a.txt")),
        ({"file_data": "https://x/a.pdf"}, Document("application/pdf", url="https://x/a.pdf")),
        ({"file_id": "file-1"}, Document(file_id="file-1")),
    ],
)
def test_a_file_is_read_in_each_way_that_clients_send_it(file: dict[str, Any], expected: Document) -> None:
    assert media.read_file("p", {"file": file}) == expected


def test_links_of_mistral_and_openrouter_are_documents() -> None:
    link = media.read_link("p", {"document_url": "https://x/a.pdf", "document_name": "a"}, "document_url")
    assert link == Document(url="https://x/a.pdf", name="a")
    video = media.read_link("p", {"video_url": {"url": "https://x/a.webm?b=c"}}, "video_url")
    assert video == Document("video/webm", url="https://x/a.webm?b=c")


def test_sound_may_come_as_a_data_uri() -> None:
    expected = Audio("aGk=", "mp3")
    assert media.read_audio("p", {"input_audio": {"data": "aGk=", "format": "mp3"}}) == expected
    assert media.read_audio("p", {"input_audio": {"data": "data:audio/mp3;base64,aGk="}}) == expected
    failure = media.read_audio("p", {"input_audio": {"data": "aGk="}})
    assert isinstance(failure, Failure)
    assert failure.param == "p.input_audio.format"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (Document("text/plain", "aGk=", name="n.txt"), {"type": "text", "text": "n.txt:\n\nhi"}),
        (Document(text="hi"), {"type": "text", "text": "hi"}),
        (
            Document("application/pdf", PDF),
            {
                "type": "file",
                "file": {"filename": "document.pdf", "file_data": media.data_uri("application/pdf", PDF)},
            },
        ),
        (
            Document("image/png", PNG),
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        ),
        (
            Document("video/mp4", url="https://x/v"),
            {"type": "video_url", "video_url": {"url": "https://x/v"}},
        ),
        (Document(file_id="file-1"), {"type": "file", "file": {"file_id": "file-1"}}),
    ],
)
def test_a_document_is_written_as_providers_take_it(document: Document, expected: dict[str, Any]) -> None:
    assert media.write_document(document) == expected


def test_a_provider_that_fetches_files_gets_the_link() -> None:
    written = media.write_document(Document(url="https://x/a.pdf", name="a.pdf"), links=True)
    assert written == {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://x/a.pdf"}}


@pytest.mark.parametrize("document", [Document(file_id="file_011Anthropic"), Document(url="https://x/a.pdf")])
def test_a_document_that_the_provider_could_not_open_is_refused(document: Document) -> None:
    failure = media.write_document(document)
    assert isinstance(failure, Failure)
    assert failure.kind == "bad_request"
