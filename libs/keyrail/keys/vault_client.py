"""Vault's API as far as key stores need it: logged in, in threads of its own, with a time limit.

hvac is synchronous, and its errors carry what was sent and answered. So each call runs in a thread, and what
leaves the thread is an answer or a state of Vault, never hvac's error: no token, no secret_id and no value
gets into an exception, a traceback or a log.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

import hvac
import requests
from hvac import exceptions

from keyrail.keys import vault_layout, vault_login
from keyrail.keys.secret import Secret
from keyrail.keys.settings import KeyStoreSettings
from keyrail.keys.vault_health import LOGIN, RENEWAL, Health, State, VaultUnavailable
from keyrail.keys.vault_layout import Version
from keyrail.keys.vault_login import Login

THREADS: Final = 2
TIMEOUT_S: Final = 3.0
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0
CLOSE_S: Final = 1.0
LOGIN_AGAIN_S: Final = 1.0
"""A token that is younger than this and refused is not the reason: the policy is."""

T = TypeVar("T")
_Work = Callable[[hvac.Client], T]


class _Failed(NamedTuple):
    """A call that did not succeed."""

    state: State
    why: str


class _NotThere:
    """Vault has nothing under a path."""


_NOT_THERE: Final = _NotThere()


class _Granted(NamedTuple):
    """A token as Vault grants it. `lasts` is in seconds, inf for one that does not end."""

    token: Secret
    lasts: float
    renewable: bool


@dataclass(frozen=True, slots=True)
class _Pass:
    """What is known of the token in use. Times are of the monotonic clock."""

    granted: _Granted
    made: float
    since: float

    @property
    def renew(self) -> float:
        return self.since + self.granted.lasts * 2 / 3

    @property
    def expires(self) -> float:
        return self.since + self.granted.lasts


class VaultClient:
    """One login, shared by all calls of one key store. For one event loop."""

    def __init__(self, make: Callable[[], hvac.Client], mount: str, login: Login) -> None:
        self.health = Health()
        self._door = make()  # for logins, which a token has no part in
        self._vault = make()
        self._mount = mount
        self._login = login
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="vault")
        self._free = asyncio.Semaphore(THREADS)
        self._entering = asyncio.Lock()
        self._pass: _Pass | None = None
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._running: set[asyncio.Future[Any]] = set()

    async def open(self) -> None:
        """Log in, however long that takes, and stay so. What it waits for is in the log, once."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                token = await self._entered()
                break
            except VaultUnavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S / 2)
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(token), name="vault token")

    async def close(self) -> None:
        """Stop renewing. The token is left to expire."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_S)
        for client in (self._door, self._vault):
            client.adapter.close()

    async def list(self, path: str) -> list[object]:
        """What is in a folder; nothing when there is none. Raises VaultUnavailable, as all that follow."""

        def work(vault: hvac.Client) -> list[object]:
            return list(vault.secrets.kv.v2.list_secrets(path, mount_point=self._mount)["data"]["keys"])

        return await self._call(f"list {path}", work) or []

    async def version(self, path: str) -> Version | None:
        """The current version of a secret; None: there is none, or it was deleted."""

        def work(vault: hvac.Client) -> Version | None:
            answer = vault.secrets.kv.v2.read_secret_metadata(path, mount_point=self._mount)
            return vault_layout.current(answer["data"], datetime.now(UTC))

        return await self._call(f"metadata {path}", work)

    async def read(self, path: str) -> tuple[Version, dict[str, Any]] | None:
        """The current version of a secret and its content; None: there is none, or it was deleted."""

        def work(vault: hvac.Client) -> tuple[Version, dict[str, Any]]:
            data = vault.secrets.kv.v2.read_secret_version(
                path, mount_point=self._mount, raise_on_deleted_version=True
            )["data"]
            metadata = data["metadata"]
            return Version(int(metadata["version"]), metadata["created_time"]), dict(data["data"])

        return await self._call(f"read {path}", work)

    async def write(self, path: str, content: Callable[[], dict[str, object]]) -> None:
        """Store a new version. `content` is called in the thread, so that its result is in no other frame."""

        def work(vault: hvac.Client) -> int:
            stored = vault.secrets.kv.v2.create_or_update_secret(path, content(), mount_point=self._mount)
            return int(stored["data"]["version"])

        if await self._call(f"write {path}", work) is None:
            raise self.health.failed(f"write {path}", "denied", "there is no such mount")

    async def remove(self, path: str) -> None:
        """Remove a secret with all its versions, if it is there."""

        def work(vault: hvac.Client) -> int:
            answer = vault.secrets.kv.v2.delete_metadata_and_all_versions(path, mount_point=self._mount)
            return {204: 1}[answer.status_code]

        await self._call(f"remove {path}", work)

    async def _call(self, what: str, work: _Work[T]) -> T | None:
        """The answer, None when nothing is under the path. One login more where the token is refused."""
        token = await self._entered()
        answer = await self._in_thread(self._vault, work)
        if _denied(answer) and time.monotonic() - token.made >= LOGIN_AGAIN_S:
            await self._entered(instead_of=token)
            answer = await self._in_thread(self._vault, work)
        if isinstance(answer, _Failed):
            raise self.health.failed(what, answer.state, answer.why)
        self.health.answered(what)
        return None if isinstance(answer, _NotThere) else answer

    async def _entered(self, instead_of: _Pass | None = None) -> _Pass:
        """The token in use, after a login where there is none, it has expired, or it is refused."""
        async with self._entering:
            token = self._pass
            if token is not None and token is not instead_of and time.monotonic() < token.expires:
                return token
            answer = await self._in_thread(self._door, lambda vault: _granted(self._login.enter(vault)))
            if isinstance(answer, _NotThere):
                answer = _Failed("denied", "there is no such way to log in")
            if isinstance(answer, _Failed):
                raise self.health.failed(LOGIN, answer.state, answer.why)
            now = time.monotonic()
            return self._take(LOGIN, _Pass(answer, made=now, since=now))

    async def _renew(self, old: _Pass) -> None:
        """Have the token last longer; log in anew where it can't, or soon can't any more."""
        answer = await self._in_thread(self._vault, lambda vault: _granted(vault.auth.token.renew_self()))
        if self._pass is not old:
            return
        if isinstance(answer, _Granted):
            self._take(RENEWAL, replace(old, granted=answer, since=time.monotonic()))
            if answer.lasts >= old.granted.lasts / 2:
                return
        elif isinstance(answer, _Failed) and not _denied(answer):
            raise self.health.failed(RENEWAL, answer.state, answer.why)
        await self._entered(instead_of=self._pass)

    def _take(self, what: str, token: _Pass) -> _Pass:
        self._vault.token = token.granted.token.reveal()
        self._pass = token
        self._changed.set()
        self.health.answered(what)
        return token

    async def _keep(self, token: _Pass) -> None:
        """Renew the token when two thirds of its time are over."""
        pause = FIRST_PAUSE_S
        while True:
            self._changed.clear()
            token = self._pass or token
            if not await self._due(token):
                continue
            try:
                await (self._renew(token) if token.granted.renewable else self._entered(instead_of=token))
                pause = FIRST_PAUSE_S
            except VaultUnavailable:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _due(self, token: _Pass) -> bool:
        """Wait until the token is to be renewed; False when there is another one before that."""
        wait = max(token.renew - time.monotonic(), 0)
        try:
            await asyncio.wait_for(self._changed.wait(), None if wait == math.inf else wait)
        except TimeoutError:
            return True
        return False

    async def _in_thread(self, client: hvac.Client, work: _Work[T]) -> T | _NotThere | _Failed:
        async with self._free:
            running = asyncio.ensure_future(_run(self._pool, client, work))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
            # requests limits the time of each read, not of all
            done, _ = await asyncio.wait({running}, timeout=2 * TIMEOUT_S)
            return running.result() if done else _Failed("slow", "the answer does not end")


async def _run(pool: ThreadPoolExecutor, client: hvac.Client, work: _Work[T]) -> T | _NotThere | _Failed:
    return await asyncio.get_running_loop().run_in_executor(pool, _tried, client, work)


def connect(settings: KeyStoreSettings, address: str) -> VaultClient:
    """A client that has not logged in yet. Proxies and credentials of the environment are not looked at."""

    def make() -> hvac.Client:
        session = requests.Session()
        session.trust_env = False
        session.verify = str(settings.vault_ca_file) if settings.vault_ca_file is not None else True
        return hvac.Client(
            url=address.rstrip("/"),
            token="",
            session=session,
            timeout=TIMEOUT_S,  # pyright: ignore[reportArgumentType] - requests takes fractions
            namespace=settings.vault_namespace,
            allow_redirects=False,  # the token would go along
        )

    return VaultClient(make, settings.vault_mount, vault_login.of(settings))


def _denied(answer: object) -> bool:
    return isinstance(answer, _Failed) and answer.state == "denied"


def _granted(answer: Any) -> _Granted:
    auth = answer["auth"]
    return _Granted(
        Secret(auth["client_token"]), float(auth["lease_duration"]) or math.inf, bool(auth["renewable"])
    )


def _tried(client: hvac.Client, work: _Work[T]) -> T | _NotThere | _Failed:
    """Only the class of an error is looked at: its text may hold what was sent."""
    try:
        return work(client)
    except exceptions.InvalidPath as error:
        return _Failed("denied", "there is no such mount") if error.errors else _NOT_THERE
    except vault_login.NoCredential as error:
        return _Failed("denied", str(error))
    except (exceptions.VaultError, requests.RequestException, OSError) as error:
        return _Failed(_state(error), type(error).__name__)
    except (KeyError, TypeError, ValueError, AttributeError):
        return _Failed("unreachable", "not an answer of Vault's KV version 2")


def _state(error: Exception) -> State:
    match error:
        case exceptions.Forbidden() | exceptions.Unauthorized() | exceptions.InvalidRequest():
            return "denied"
        case exceptions.RateLimitExceeded():
            return "rate_limited"
        case exceptions.VaultDown() | exceptions.VaultNotInitialized():
            return "sealed"
        case requests.ReadTimeout():
            return "slow"
        case _:
            return "unreachable"
