"""Every way of showing a value that somebody might try by accident."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import pprint
import string
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pydantic
import pytest

from keyrail.keys.secret import HIDDEN, Secret

CANARY = "sk-canary-5f1c0a9e"


@dataclasses.dataclass
class Holder:
    secret: Secret


class Record(msgspec.Struct):
    secret: Secret


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    secret: Secret


def logged(secret: Secret) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.Logger("canary")
    logger.addHandler(handler)
    logger.warning("key %s %r", secret, secret)
    logger.warning("extra %s", {"secret": [secret]})
    return stream.getvalue()


def traced(secret: Secret) -> str:
    def fails(held: Secret) -> None:
        bearer = held  # pyright: ignore[reportUnusedVariable]  # noqa: F841
        held.reveal()
        raise RuntimeError(f"cannot call with {held}")

    try:
        fails(secret)
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    raise AssertionError


SHOWN: dict[str, Callable[[Secret], Any]] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "f-string": lambda s: f"{s} {s!r} {s!s} {s!a} {s:>40} {s:s}",
    "str.format": "{0} {0!r}".format,
    "format with a width": lambda s: format(s, "100"),
    "percent": lambda s: "%s %r" % (s, s),  # noqa: UP031
    "template": lambda s: string.Template("$s").substitute(s=s),
    "containers": lambda s: repr(([s], (s,), {"k": s})),
    "pprint": pprint.pformat,
    "logging": logged,
    "traceback with variables": traced,
    "dataclass repr": lambda s: repr(Holder(s)),
    "dataclass asdict": lambda s: repr(dataclasses.asdict(Holder(s))),
    "vars of a holder": lambda s: repr(vars(Holder(s))),
    "msgspec repr": lambda s: repr(Record(s)),
    "msgspec asdict": lambda s: repr(msgspec.structs.asdict(Record(s))),
    "msgspec with a fallback": lambda s: msgspec.json.encode(Record(s), enc_hook=str).decode(),
    "pydantic repr": lambda s: repr(Model(secret=s)),
    "pydantic dump": lambda s: repr(Model(secret=s).model_dump()),
    "json with a fallback": lambda s: json.dumps({"s": s}, default=str),
    "exception": lambda s: repr(ValueError(s)) + str(ValueError(s)),
    "dir": lambda s: repr([(name, repr(type(name))) for name in dir(s)]),
    "copy": lambda s: repr([copy.copy(s), copy.deepcopy([s])]),
}


@pytest.mark.parametrize("way", SHOWN)
def test_a_secret_is_hidden_however_it_is_shown(way: str) -> None:
    text = SHOWN[way](Secret(CANARY))
    assert "canary" not in text
    if way != "dir":
        assert HIDDEN in text


REFUSED: dict[str, Callable[[Any], Any]] = {
    "vars": vars,
    "pickle 0": lambda s: pickle.dumps(s, 0),
    "pickle 2": lambda s: pickle.dumps(s, 2),
    "pickle 5": lambda s: pickle.dumps([s], 5),
    "reduce behind its back": lambda s: object.__reduce_ex__(s, 2),
    "getstate": lambda s: s.__getstate__(),
    "json": json.dumps,
    "msgspec json": msgspec.json.encode,
    "msgspec msgpack": msgspec.msgpack.encode,
    "msgspec builtins": lambda s: msgspec.to_builtins(Record(s)),
    "pydantic json": lambda s: Model(secret=s).model_dump_json(),
    "pydantic json mode": lambda s: Model(secret=s).model_dump(mode="json"),
    "iteration": list,
    "length": len,
    "concatenation": lambda s: "Bearer " + s,
    "bytes": bytes,
    "hash": hash,
    "join": lambda s: " ".join([s]),
}


@pytest.mark.parametrize("way", REFUSED)
def test_a_secret_refuses_what_would_take_it_apart(way: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        REFUSED[way](Secret(CANARY))
    assert "canary" not in f"{caught.value!r} {caught.value}"


def test_a_secret_gives_its_value_only_to_who_asks_for_it() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_secrets_are_equal_by_value_and_to_nothing_else() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY + "x")
    assert Secret(CANARY) != CANARY
    assert Secret("\ud800") == Secret("\ud800")


def test_a_secret_does_not_change() -> None:
    secret = Secret(CANARY)
    with pytest.raises(AttributeError):
        secret._value = "other"  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(AttributeError):
        del secret._value  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(AttributeError):
        secret.label = "x"
    assert secret.reveal() == CANARY


def test_a_secret_is_made_from_text_only_and_the_error_does_not_show_what_it_got() -> None:
    with pytest.raises(TypeError) as caught:
        Secret(CANARY.encode())  # pyright: ignore[reportArgumentType]
    assert "canary" not in str(caught.value)
