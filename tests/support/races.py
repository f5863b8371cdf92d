"""Routes that race, given to a running stack; and who did what in a race."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keyrail.bus.connection import BusSettings, connect
from keyrail.contracts import streams
from keyrail.contracts.config import (
    ConfigView,
    ModelPrice,
    ProviderConfig,
    RaceRule,
    RouteConfig,
    WeightedTarget,
)
from keyrail.contracts.slips import Target
from support.stack import Stack


def route(name: str, rule: RaceRule, *models: str) -> RouteConfig:
    """`models` as `provider/model`."""
    targets = [Target(provider=p, model=m) for p, _, m in (model.partition("/") for model in models)]
    return RouteConfig(
        name=name,
        strategy="fallback",
        targets=tuple(WeightedTarget(target=target) for target in targets),
        race=rule,
    )


async def give(
    stack: Stack, routes: Sequence[RouteConfig], prices: dict[str, ModelPrice] | None = None
) -> None:
    """Add the routes, and a provider `priced` at the stack's own sandbox; wait until routers know them."""
    run: Path = stack.home / "run"
    port = json.loads((run / "nats-server.conf").read_text())["port"]
    password = (run / "control.password").read_text().strip()
    settings = BusSettings(f"nats://127.0.0.1:{port}", "control", "control", password)
    bus = await connect(settings)
    try:
        bucket = await bus.js.key_value(streams.CONFIG.name)
        entry = await bucket.get("current")
        assert entry.value is not None
        view = ConfigView.decode(entry.value)
        providers = dict(view.providers)
        if prices is not None:
            base = stack.run_file()["sandbox_url"]
            providers["priced"] = ProviderConfig(name="priced", base_url=base, needs_key=False, prices=prices)
        added = {each.name: each for each in routes}
        view = view.replace(revision=view.revision + 1, routes={**view.routes, **added}, providers=providers)
        await bucket.put("current", view.encode())
    finally:
        await bus.close()
    async with stack.http() as client:  # a route that nobody knows is a 404
        while True:
            answer = await client.post(
                "/v1/chat/completions",
                json={"model": routes[-1].name, "messages": [{"role": "user", "content": "?"}]},
            )
            if answer.status_code != 404:
                return
            await asyncio.sleep(0.05)


def by_standing(rows: Sequence[dict[str, Any]]) -> dict[str | None, list[dict[str, Any]]]:
    """A request's attempts by how they stood at its end."""
    found: dict[str | None, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["standing"], []).append(row)
    return found
