"""What holds for all tests.

CI repeats itself: what hypothesis finds there must be found again by whoever looks into it. And whoever runs
tests without a real Vault server is told so where they look last.
"""

import os
import re

import pytest
from hypothesis import settings
from support.openbao import NO_SERVER

RANDOM_KEY = re.compile(r"\bage1[a-z0-9]{58}|kr_\W?\w?[a-z0-9]{8}_", re.IGNORECASE)
RANDOM_HASH = re.compile(r"[0-9a-f]{63,64}", re.IGNORECASE)

settings.register_profile("ci", derandomize=True, max_examples=50)  # always the same ones: half will do
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what a skipped Vault suite means."""
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if NO_SERVER in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section(
            "THE VAULT SUITE HAS NOT RUN AGAINST A REAL SERVER", sep="!", red=True, bold=True
        )
        terminalreporter.write_line(f"{len(skipped)} tests were skipped: {NO_SERVER}.", red=True)
        terminalreporter.write_line("`make openbao` says why it cannot be built, where it cannot.", red=True)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """No random key is in a test's name: processes that share the tests would know them by other names."""
    if isinstance(val, bytes):
        val = val.decode("latin-1")
    random = isinstance(val, str) and (RANDOM_KEY.search(val) or RANDOM_HASH.fullmatch(val))
    return argname if random else None
