"""Why control does not do what it is asked.

ControlError
├── Invalid        what was asked makes no sense; the text names the field and never repeats a value
│   └── BadConfig  the configuration has problems
├── Unknown        there is no such thing
├── Conflict       not in the state that this asks for
├── Unavailable    somebody who is needed does not answer; worth another try
└── LedgerFailed   the ledger answered that it can't
"""

from __future__ import annotations

from collections.abc import Sequence

from keyrail.config.problems import Problem


class ControlError(Exception):
    """Base of all of these."""


class Invalid(ControlError):
    """What was asked makes no sense."""


class BadConfig(Invalid):
    """The configuration has problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(
            "the configuration has a problem"
            if len(problems) == 1
            else f"the configuration has {len(problems)} problems"
        )
        self.problems = problems


class Unknown(ControlError):
    """There is no such thing."""


class Conflict(ControlError):
    """Not in the state that this asks for."""


class Unavailable(ControlError):
    """Somebody who is needed does not answer."""


class LedgerFailed(ControlError):
    """The ledger answered that it can't."""
