"""What holds for all tests.

CI repeats itself: what hypothesis finds there must be found again by whoever looks into it. And whoever runs
tests without a real Vault server is told so where they look last.
"""

import os

import pytest
from hypothesis import settings
from support.openbao import NO_SERVER

settings.register_profile("ci", derandomize=True)
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
