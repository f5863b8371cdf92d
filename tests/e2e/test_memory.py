"""Memory reaches a plateau: what a request took is given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.memory import growth, watch
from bench.run import upstream
from bench.settings import Settings
from bench.targets import start

PER_REQUEST = ("ingress", "router", "provider-worker")
MB = 1_000_000


def grown(requests: int, folder: Path) -> dict[str, float]:
    """Megabytes by which each service grew over the second half of the requests, with accounting on."""
    with upstream(folder) as mock, start("keyrail", *mock, folder / "keyrail", Settings()) as target:
        memory = watch(target, requests, folder)
    assert memory.problems == []
    return {service: growth(memory, service) / MB for service in (*PER_REQUEST, "nats-server")}


@pytest.mark.proof
@pytest.mark.timeout(180)
def test_what_a_request_took_is_given_back(tmp_path: Path) -> None:
    """A leak of 3 kB a request would show as 9 MB."""
    more = grown(6_000, tmp_path)
    assert all(more[service] < 6 for service in PER_REQUEST), more


@pytest.mark.proof
def test_a_hundred_thousand_requests_end_on_a_plateau(tmp_path: Path) -> None:
    more = grown(100_000, tmp_path)
    assert all(more[service] < 10 for service in PER_REQUEST), more
    assert more["nats-server"] < 40, more
