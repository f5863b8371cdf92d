import sys
from pathlib import Path

import pytest

from bench.children import StartError
from bench.figures import Step
from bench.ledger import Ledger
from bench.measure import Meter, measure
from bench.mock import EVENTS
from bench.targets import direct, keyrail, upstream

FAKE = Path(__file__).with_name("fake_keyrail.py")
PLAN = [
    Step(name="c64", connections=4, seconds=0.1),
    Step(name="burst", connections=2, seconds=0.1, stream=True),
]


def fake(*, lost: int = 0) -> tuple[str, ...]:
    return (sys.executable, str(FAKE), str(lost))


def test_direct_is_measured_on_the_mock_that_serves_it(tmp_path: Path) -> None:
    with upstream(tmp_path) as (port, process), direct(port, process) as target:
        found = measure(target, PLAN[1:], tmp_path)
    assert found.problems == []
    assert found.loads["burst"].outcome.events == found.loads["burst"].outcome.answered * EVENTS > 0
    assert sum(load.cpu_us["mock"] for load in found.loads.values()) > 0  # a burst may end within a tick
    assert found.pss_after["mock"] > 1_000_000


def test_keyrail_is_started_found_by_its_home_and_stopped(tmp_path: Path) -> None:
    with keyrail(4321, tmp_path, fake()) as target:
        found = measure(target, PLAN[:1], tmp_path)
    assert found.problems == []
    assert 'openai: {base_url: "http://127.0.0.1:4321/v1"}' in (tmp_path / "keyrail.yaml").read_text()
    assert target.model.startswith("openai/")  # a provider whose prices are known
    assert target.headers["authorization"] == "Bearer kr_fake"
    assert list(found.loads["c64"].cpu_us) == ["ingress"]
    assert (tmp_path / "home/stopped").exists()


@pytest.mark.parametrize("lost", [1, -1])
def test_a_row_that_the_ledger_lost_or_counted_twice_fails_the_load(tmp_path: Path, lost: int) -> None:
    with keyrail(1, tmp_path, fake(lost=lost)) as target:
        assert isinstance(target.ledger, Ledger)
        target.ledger.patience_s = 0.0
        meter = Meter(target, tmp_path)
        figures = meter.run(meter.load(PLAN[0], count=20))
    assert figures.problems == [f"the ledger has {20 - lost} requests, 20 were sent"]


def test_a_target_that_does_not_start_says_why(tmp_path: Path) -> None:
    broken = (sys.executable, "-c", "raise SystemExit('no such thing')")
    with pytest.raises(StartError, match="ended with 1\nno such thing"), keyrail(1, tmp_path, broken):
        pass
