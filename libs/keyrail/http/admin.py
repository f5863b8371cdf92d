"""Client of the admin API, for the CLI. Blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import quote

import httpx

Row = dict[str, object]


class AdminError(Exception):
    """It was not done, or not answered; the text says why and what to do."""


class NotFound(AdminError):
    """There is no such thing."""


class Rejected(AdminError):
    """What was sent is not right. `problems`: {line, message} of each, where it was a configuration."""

    def __init__(self, message: str, problems: list[Row]) -> None:
        super().__init__(message)
        self.problems = problems


def path(base: str, *names: str) -> str:
    """A path below `base`; no name can lead out of it."""
    return "/".join((base, *(quote(name, safe="") for name in names)))


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

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Row:
        """The object at a path. Raises NotFound and AdminError."""
        return self._ask("GET", path, query=query)

    def one(self, base: str, name: str) -> Row:
        """The object `name` below `base`. Raises NotFound and AdminError."""
        return self._ask("GET", path(base, name))

    def rows(self, path: str, parameters: Mapping[str, str]) -> Iterator[Row]:
        """All rows, page after page. Raises AdminError."""
        cursor: str | None = None
        while True:
            query = {**parameters, "cursor": cursor} if cursor else parameters
            page = self._ask("GET", path, query=query)
            yield from cast("list[Row]", page["rows"])
            cursor = cast("str | None", page["cursor"])
            if cursor is None:
                return

    def post(self, path: str, body: Row) -> Row:
        """Send an object, get one. Raises Rejected, NotFound and AdminError."""
        return self._ask("POST", path, body=body)

    def delete(self, path: str) -> Row:
        """Remove what is there. Raises NotFound and AdminError."""
        return self._ask("DELETE", path)

    def _ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Row | None = None
    ) -> Row:
        try:
            request = self._http.build_request(method, path, params=dict(query or {}), json=body)
            answer = self._http.send(request)
            said = answer.json()
        except httpx.HTTPError as error:
            message = f"no answer from Keyrail at {self._base_url}: {error or type(error).__name__}"
            raise AdminError(message) from error
        except ValueError as error:
            raise AdminError(f"{self._base_url} does not speak the admin API") from error
        if answer.status_code in (200, 201) and isinstance(said, dict):
            return cast("Row", said)
        message = _message(said) or f"status {answer.status_code}"
        if answer.status_code == 400:
            raise Rejected(message, _problems(said))
        raise (NotFound if answer.status_code == 404 else AdminError)(message)


def _message(body: object) -> str | None:
    error = cast("Row", body).get("error") if isinstance(body, dict) else None
    message = cast("Row", error).get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else None


def _problems(body: object) -> list[Row]:
    found = cast("Row", body).get("problems") if isinstance(body, dict) else None
    return cast("list[Row]", found) if isinstance(found, list) else []
