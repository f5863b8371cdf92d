import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that services run on: what a write or a close does differs a little between loops."""
    return {"uvloop": uvloop.new_event_loop}
