"""Routes of provider keys. A value goes in and never comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from keyrail.keys.base import KeyName
from keyrail.keys.secret import Secret
from keyrail_control.api.bodies import Body
from keyrail_control.api.pages import Nothing, Page
from keyrail_control.api.routing import Call, Route, Routes
from keyrail_control.provider_keys import KeyRow, ProviderKeys

_KEY: Final = "/v1/keys/{tenant}/{provider}/{id}"


class AddKey(Body, frozen=True, kw_only=True):
    """A new key. Keys of one provider share its traffic by `weight`."""

    tenant: str = "default"
    provider: str
    id: str
    weight: int = 1
    value: Secret


class RotateKey(Body, frozen=True, kw_only=True):
    """A new value. Without `weight` it stays."""

    value: Secret
    weight: int | None = None


class TestedKey(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a test. `status` is the provider's, null when it was not reached."""

    result: Literal["ok", "refused", "failed", "missing"]
    status: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class KeyRoutes:
    """What can be done with provider keys."""

    keys: ProviderKeys

    def routes(self) -> Routes:
        """This part of the table."""
        return (
            Route("GET", "/v1/keys", "All provider keys, no values", self._list, answer=Page[KeyRow]),
            Route(
                "POST", "/v1/keys", "Add a provider key", self._add, AddKey, KeyRow, status=201, errors=(409,)
            ),
            Route(
                "POST", f"{_KEY}/rotate", "Replace its value", self._rotate, RotateKey, KeyRow, errors=(404,)
            ),
            Route(
                "POST",
                f"{_KEY}/test",
                "Let a worker try it, and take it back in if it works",
                self._test,
                answer=TestedKey,
                errors=(404,),
            ),
            Route("DELETE", _KEY, "Remove it from the store", self._revoke, answer=Nothing, errors=(404,)),
        )

    async def _list(self, call: Call[None]) -> Page[KeyRow]:
        return Page(rows=await self.keys.rows())

    async def _add(self, call: Call[AddKey]) -> KeyRow:
        new = call.body
        return await self.keys.add(KeyName(new.tenant, new.provider, new.id), new.value, new.weight)

    async def _rotate(self, call: Call[RotateKey]) -> KeyRow:
        return await self.keys.rotate(_name(call.path), call.body.value, call.body.weight)

    async def _test(self, call: Call[None]) -> TestedKey:
        tested = await self.keys.test(_name(call.path))
        return TestedKey(result=tested.result, status=tested.status, detail=tested.detail)

    async def _revoke(self, call: Call[None]) -> Nothing:
        await self.keys.revoke(_name(call.path))
        return Nothing()


def _name(path: Mapping[str, str]) -> KeyName:
    return KeyName(path["tenant"], path["provider"], path["id"])
