"""A string that does not show itself."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn, final

HIDDEN: Final = "Secret(***)"


@final
class Secret:
    """Holds a value that must not be shown. Only `reveal` gives it back.

    Formatting of any kind shows `HIDDEN`; pickling and JSON encoders are refused with TypeError. Copies are
    the same object. Equal to another Secret with the same value, in constant time; not hashable.
    """

    __slots__ = ("_value",)

    _value: str

    def __init__(self, value: str) -> None:
        if type(value) is not str:
            raise TypeError("a secret is made from a str")
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """The value. Call it where the value is used, and keep the result in no variable that lives on."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self), _bytes(other))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
