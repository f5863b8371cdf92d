"""All metrics of all instances: asked for over the bus, answered by each."""

from __future__ import annotations

import asyncio

from nats.aio.msg import Msg

from keyrail.bus.connection import Bus
from keyrail.bus.liveness import Hearing
from keyrail.contracts import subjects
from keyrail.telemetry import metrics
from keyrail.telemetry.metrics import Exposition

WAIT_S = 0.5


async def exposition(bus: Bus, hearing: Hearing) -> bytes:
    """Prometheus' text format. Waits until every instance heard of lately has answered, WAIT_S at most."""
    now = asyncio.get_running_loop().time()
    expected = {i for i, heard in hearing.heard.items() if now - heard.at < 3 and not heard.alive.leaving}
    answers: dict[str, Exposition] = {bus.instance: metrics.collect(bus.service, bus.instance)}
    complete = asyncio.Event()

    async def on_answer(msg: Msg) -> None:
        answer = Exposition.model_validate_json(msg.data)
        answers[answer.instance] = answer
        if expected <= answers.keys():
            complete.set()

    inbox = bus.nc.new_inbox()
    subscription = await bus.subscribe(inbox, on_answer)
    try:
        await bus.publish(subjects.METRICS, b"", reply=inbox)
        await asyncio.wait_for(complete.wait(), WAIT_S)
    except TimeoutError:
        pass
    finally:
        await subscription.unsubscribe()
    return metrics.render(list(answers.values()))
