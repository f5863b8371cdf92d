"""`keyrail up`: checks everything that can be wrong first, then runs the stack."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyrail.config import document
from keyrail.config.problems import ConfigError
from keyrail.contracts.config import ConfigView
from keyrail.http.tls import TlsError
from keyrail.keys import environment, stores
from keyrail.keys.base import InvalidKey, KeyStoreError, KeyStoreUnavailable
from keyrail.keys.secret import Secret
from keyrail.keys.settings import KeyStoreSettings
from keyrail.providers import registry
from keyrail_embedded.home import Home, HomeInUse
from keyrail_embedded.plan import SCALABLE
from keyrail_embedded.settings import EmbeddedSettings
from keyrail_embedded.supervisor import Say, Supervisor, Wanted

ENVIRONMENT_KEY = "env"
TENANT = "default"
STORE_S = 10.0
"""How long a store of keys may take to be there before the stack is started."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """All that was asked for, checked."""

    view: ConfigView
    wanted: Wanted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `keyrail up`."""
    parser.add_argument(
        "--scale",
        action="append",
        default=[],
        metavar="SERVICE=N",
        help=f"run N instances of a service ({', '.join(SCALABLE)}); may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="say everything as JSON objects, one a line")


def run(arguments: argparse.Namespace) -> int:
    """Run in the foreground until Ctrl-C or SIGTERM. Returns the exit code."""
    say = _say_json if arguments.json else _say
    settings = EmbeddedSettings()
    asked = _asked(settings, arguments.scale)
    if isinstance(asked, str):
        say(asked)
        return 2
    home = Home(settings.home)
    try:
        home.lock()
    except HomeInUse as error:
        say(f"{home.path} is in use: {error}. Stop that one, or choose another KEYRAIL_HOME.")
        return 1
    try:
        return _locked(home, settings, asked, say)
    finally:
        home.release()


def _asked(settings: EmbeddedSettings, scale: list[str]) -> _Asked | str:
    """What was asked for, or what is wrong with it."""
    numbers = _scale(scale)
    if isinstance(numbers, str):
        return numbers
    view = _view(settings.config_file())
    if isinstance(view, str):
        return view
    try:
        return _Asked(view, Wanted(settings.config_file(), numbers, settings.tls_files(), settings.vault()))
    except TlsError as error:
        return str(error)


def _locked(home: Home, settings: EmbeddedSettings, asked: _Asked, say: Say) -> int:
    try:
        home.prepare()
    except KeyStoreError as error:
        say(f"{error}; `keyrail keystore restore` puts an identity back from its backup")
        return 1
    outer = dict(os.environ)  # noqa: TID251
    try:
        clean = _take_keys(settings.key_writer(home.keystore), outer, _variables(asked.view), say)
    except (KeyStoreUnavailable, TimeoutError) as error:
        say(f"the keys in the environment can't be stored: {error or 'Vault can not be used'}")
        return 1
    if clean is not None:
        home.release()
        os.execve(sys.executable, sys.orig_argv, clean)  # noqa: S606 - once more, without keys in /proc
    try:
        listener = socket.create_server(("127.0.0.1", settings.port), backlog=2048)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        say(f"port {settings.port} can't be had ({why}); choose another KEYRAIL_PORT")
        return 1
    children = {k: v for k, v in environment.scrubbed(outer).items() if not k.startswith("KEYRAIL_")}
    supervisor = Supervisor(home, listener, children, asked.wanted, say)
    return asyncio.run(supervisor.run())


def _variables(view: ConfigView) -> dict[str, str]:
    """Environment variables that bring keys in, and for whom: MY_VLLM_API_KEY for a declared `my-vllm`."""
    builtins = registry.load()
    declared = (name for name in view.providers if name not in builtins)
    names = {f"{name.upper().replace('-', '_')}_API_KEY": name for name in declared}
    return names | {variable: p.name for p in builtins.values() for variable in p.env}


def _take_keys(
    store: KeyStoreSettings, outer: Mapping[str, str], names: Mapping[str, str], say: Say
) -> dict[str, str] | None:
    """Put provider keys of the environment into the key store, under the id `env`.

    Returns the environment without them, None when there were none. Raises KeyStoreUnavailable, TimeoutError.
    """
    found = environment.found(outer, names)
    if not found:
        return None
    asyncio.run(_store(store, found, say))
    values = {value.reveal() for value in found.values()}  # one may be there under another name too
    return {n: value for n, value in outer.items() if n not in names and value.strip() not in values}


async def _store(store: KeyStoreSettings, found: Mapping[str, Secret], say: Say) -> None:
    place = "the keystore" if store.vault_addr is None else "Vault"
    writer = stores.writer(store)
    try:
        await asyncio.wait_for(writer.open(), STORE_S)
        for provider, value in found.items():
            try:
                await writer.put(TENANT, provider, ENVIRONMENT_KEY, value)
            except InvalidKey as error:
                say(f"the key for {provider} in the environment is not taken: {error}")
                continue
            say(f"took the key for {provider} from the environment into {place} (id {ENVIRONMENT_KEY})")
    finally:
        await writer.close()


def _view(config: Path | None) -> ConfigView | str:
    """The configuration, or what is wrong with it."""
    try:
        text = config.read_text() if config is not None else ""
        return document.parse(text, config.name if config is not None else "", registry.configs())
    except OSError as error:
        return f"{config}: {error.strerror}"
    except UnicodeDecodeError:
        return f"{config}: not UTF-8"
    except ConfigError as error:
        return str(error)


def _scale(wanted: list[str]) -> dict[str, int] | str:
    scale: dict[str, int] = {}
    for item in wanted:
        name, _, number = item.partition("=")
        if name not in SCALABLE or not number.isdigit() or not 1 <= int(number) <= 32:
            return f"--scale takes SERVICE=N with a service of {', '.join(SCALABLE)}, not {item!r}"
        scale[name] = int(number)
    return scale


def _say(what: str, **_: str) -> None:
    print(f"keyrail: {what}", flush=True)


def _say_json(what: str, **facts: str) -> None:
    print(json.dumps({"message": what, **facts}, ensure_ascii=False), flush=True)
