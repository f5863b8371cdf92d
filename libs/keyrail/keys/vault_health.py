"""How Vault answers, as a metric and as one line in the log for each change."""

from __future__ import annotations

import logging
from typing import Final, Literal, get_args

from keyrail.keys.base import KeyStoreUnavailable
from keyrail.telemetry import metrics

State = Literal["ok", "rate_limited", "denied", "slow", "sealed", "unreachable"]
STATES: Final[tuple[State, ...]] = get_args(State)
LOGIN: Final = "login"
RENEWAL: Final = "renewal"
OF_THE_SERVER: Final[frozenset[State]] = frozenset({"rate_limited", "slow", "sealed", "unreachable"})
"""What any answer at all puts an end to; what was denied stays so until the same is granted."""

_SAID: Final[dict[State, str]] = {
    "ok": "Vault answers",
    "rate_limited": "Vault limits our rate (429)",
    "denied": "Vault denies access",
    "slow": "Vault does not answer in time",
    "sealed": "Vault is sealed (503)",
    "unreachable": "Vault is not reachable, or no Vault",
}

log = logging.getLogger(__name__)


class VaultUnavailable(KeyStoreUnavailable):
    """A call of Vault that failed. `state` says how, `why` says more; neither repeats what was answered."""

    def __init__(self, state: State, why: str) -> None:
        super().__init__(f"{_SAID[state]}: {why}")
        self.state: State = state


class Health:
    """What the last calls of one process say together. For the event loop's thread alone."""

    def __init__(self) -> None:
        self.state: State | None = None
        self._server: State = "ok"
        self._denied: set[str] = set()
        for state in STATES:
            metrics.VAULT_STATE.labels(state).set(0)

    def answered(self, what: str) -> None:
        """Vault did what was asked. `what` names it: a path with what was wanted of it, LOGIN or RENEWAL."""
        metrics.VAULT_CALLS.labels("ok").inc()
        self._server = "ok"
        self._denied -= {what, LOGIN, RENEWAL}  # who is let in has logged in
        self._tell(what)

    def failed(self, what: str, state: State, why: str) -> VaultUnavailable:
        """Vault did not. Returns the error to raise."""
        metrics.VAULT_CALLS.labels(state).inc()
        if state in OF_THE_SERVER:
            self._server = state
        else:
            self._server = "ok"
            self._denied.add(what)
        self._tell(what, why)
        return VaultUnavailable(state, why)

    def _tell(self, what: str, why: str = "") -> None:
        state: State = self._server if self._server != "ok" or not self._denied else "denied"
        if state == self.state:
            return
        if self.state is not None:
            metrics.VAULT_STATE.labels(self.state).set(0)
        metrics.VAULT_STATE.labels(state).set(1)
        self.state = state
        level = logging.INFO if state == "ok" else logging.WARNING
        log.log(level, _SAID[state], extra={"vault_state": state, "asked_for": what, "why": why})
