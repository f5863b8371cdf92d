"""control on a real nats-server, in this process, asked over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.contracts import subjects
from keyrail.contracts.ledger import LedgerPage, LedgerQuery
from keyrail.keys import keystore, virtual
from keyrail_control.app import Control
from keyrail_control.settings import ControlSettings
from support.nats import NatsServer

TOKEN = "adm_0123456789"


class Home:
    """What `keyrail up` would have made."""

    def __init__(self, path: Path, config: str = "") -> None:
        self.path = path
        self.keystore = path / "keystore"
        self.config = path / "keyrail.yaml"
        keystore.create(self.keystore, path / "identity.key")
        (path / "admin.token").write_text(TOKEN + "\n")
        self.default_key = virtual.issue()
        (path / "default.key").write_text(self.default_key.key + "\n")
        self.config.write_text(config)

    def settings(self, **more: Any) -> ControlSettings:
        places: dict[str, Any] = {"home": self.path, "keystore": self.keystore, "config": self.config}
        return ControlSettings(**places | more)


class Controlled:
    """A control that runs, and a client of it that has the token."""

    def __init__(self, bus: Bus, control: Control) -> None:
        self.bus = bus
        self.control = control
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{control.port}",
            headers={"authorization": f"Bearer {TOKEN}"},
            trust_env=False,
        )

    @classmethod
    async def start(cls, nats: NatsServer, home: Home, *, look_s: float = 30.0, **more: Any) -> Controlled:
        bus = await nats.bus("control")
        control = Control(bus, home.settings(**more), look_s=look_s)
        try:
            await control.start()
        except BaseException:
            await bus.close()
            raise
        return cls(bus, control)

    async def stop(self) -> None:
        await self.http.aclose()
        await self.control.drain()
        await self.bus.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        expect: int = 200,
        headers: Mapping[str, str] = {},
    ) -> Any:
        """The answer's JSON; its status must be `expect`."""
        content = None if body is None else json.dumps(body)
        sent = dict(headers) if body is None else {"content-type": "application/json", **headers}
        answer = await self.http.request(method, path, content=content, headers=sent)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def get(self, path: str, *, expect: int = 200) -> Any:
        return await self.ask("GET", path, expect=expect)

    async def post(self, path: str, body: object = None, *, expect: int = 200) -> Any:
        return await self.ask("POST", path, body, expect=expect)

    async def delete(self, path: str, *, expect: int = 200) -> Any:
        return await self.ask("DELETE", path, expect=expect)

    async def rows(self, path: str) -> list[dict[str, Any]]:
        return (await self.get(path))["rows"]


Begin = Callable[..., Awaitable[Controlled]]
"""What the fixture `begin` is: starts a control, with settings that differ."""


class Ledger:
    """Answers all questions with one page, as cost-accounting would."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.asked: list[LedgerQuery] = []
        self.spent = Decimal("1.25")
        self.page: Callable[[LedgerQuery], LedgerPage] = self._spend

    @classmethod
    async def start(cls, nats: NatsServer) -> Ledger:
        ledger = cls(await nats.bus("cost-accounting"))
        await ledger.bus.subscribe(subjects.LEDGER, ledger.on_question, queue="cost-accounting")
        await ledger.bus.nc.flush()
        return ledger

    async def on_question(self, msg: Msg) -> None:
        query = LedgerQuery.decode(msg.data)
        self.asked.append(query)
        await self.bus.publish(msg.reply, self.page(query).encode())

    def _spend(self, query: LedgerQuery) -> LedgerPage:
        return LedgerPage(rows=[{"cost_usd": str(self.spent)}])
