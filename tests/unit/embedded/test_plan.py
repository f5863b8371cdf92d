"""What the children of the embedded stack are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyrail_embedded import plan
from keyrail_embedded.home import Home
from keyrail_embedded.plan import Places


@pytest.mark.parametrize(("cores", "threads"), [(1, "1"), (2, "1"), (7, "1"), (8, "2"), (64, "16")])
def test_nats_server_gets_a_quarter_of_the_cores(cores: int, threads: str) -> None:
    assert plan.go_runtime(cores)["GOMAXPROCS"] == threads


def test_nats_server_is_started_with_the_runtime_that_was_planned(tmp_path: Path) -> None:
    where = tmp_path / "nowhere"
    places = Places(
        nats_url="nats://nowhere",
        nats_config=where,
        nats_binary=where,
        sandbox_url="",
        config=None,
        ingress_fd=0,
        admin_fd=0,
        sandbox_fd=0,
        tls=None,
        lock_fd=0,
    )
    spec = plan.nats_server(Home(tmp_path), places, {"PATH": "/bin"})
    assert spec.environment["PATH"] == "/bin"
    assert {"GOMAXPROCS", "GOGC", "GOMEMLIMIT"} <= spec.environment.keys()


def test_racers_stop_before_the_workers_whose_answers_they_pass_on() -> None:
    order = plan.STOP_ORDER
    assert order.index("ingress") < order.index("router") < order.index("racer")
    assert order.index("racer") < order.index("provider-worker")
    assert "racer" in plan.SCALABLE
