"""The headers of an answer, decoded when somebody asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MAX_FIELD = 16 * 1024


class Headers(Mapping[str, str]):
    """Names in any case; of several headers of one name the first. Values are read as Latin-1."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        """`fields` by names in lower case."""
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower().encode("latin-1")].decode("latin-1")

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default`."""
        value = self._fields.get(name.lower().encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def raw(self, name: bytes) -> bytes | None:
        """The value as it came; `name` in lower case."""
        return self._fields.get(name)

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """All of them as they came, names in lower case."""
        return self._fields

    def first(self, names: tuple[bytes, ...]) -> str | None:
        """The value of the first of these names that is there; `names` in lower case."""
        for name in names:
            if name in self._fields:
                return self._fields[name].decode("latin-1")
        return None

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def too_large(fields: Mapping[bytes, bytes], most: int) -> bool:
    """Whether a field is larger than MAX_FIELD, or all of them together than `most` bytes."""
    total = 0
    for name, value in fields.items():
        size = len(name) + len(value)
        if size > MAX_FIELD:
            return True
        total += size
    return total > most
