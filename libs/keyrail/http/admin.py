"""Client of the admin API, for the CLI. Blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import quote

import httpx

Row = dict[str, object]


class AdminError(Exception):
    """The question was not answered; the text says why and what to do."""


class NotFound(AdminError):
    """There is no such thing."""


class AdminClient:
    """One connection to `base_url`. A context manager."""

    def __init__(self, base_url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        self._base_url = base_url
        self._http = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {token}"},
            timeout=30.0,
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def one(self, path: str, name: str) -> Row:
        """The object `name` below `path`. Raises NotFound and AdminError."""
        return self._get(f"{path}/{quote(name, safe='')}", {})

    def rows(self, path: str, parameters: Mapping[str, str]) -> Iterator[Row]:
        """All rows, page after page. Raises AdminError."""
        cursor: str | None = None
        while True:
            page = self._get(path, {**parameters, "cursor": cursor} if cursor else parameters)
            yield from cast("list[Row]", page["rows"])
            cursor = cast("str | None", page["cursor"])
            if cursor is None:
                return

    def _get(self, path: str, parameters: Mapping[str, str]) -> Row:
        try:
            answer = self._http.get(path, params=dict(parameters))
            body = answer.json()
        except httpx.HTTPError as error:
            message = f"no answer from Keyrail at {self._base_url}: {error or type(error).__name__}"
            raise AdminError(message) from error
        except ValueError as error:
            raise AdminError(f"{self._base_url} does not speak the admin API") from error
        if answer.status_code == 200 and isinstance(body, dict):
            return cast("Row", body)
        message = _message(body) or f"status {answer.status_code}"
        raise (NotFound if answer.status_code == 404 else AdminError)(message)


def _message(body: object) -> str | None:
    error = cast("Row", body).get("error") if isinstance(body, dict) else None
    message = cast("Row", error).get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else None
