"""The home: where the embedded stack keeps everything, one process tree at a time."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from keyrail.keys import keystore, virtual

ORPHANS_S = 10.0
"""How long the processes of a killed stack may take to end."""


class HomeInUse(Exception):
    """Another stack runs on this home."""


class Home:
    """Paths, the lock, and the secrets that are made once. Everything is private to the user."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run_file = self.path / "run.json"
        self.default_key = self.path / "default.key"
        self.admin_token = self.path / "admin.token"
        self.keystore = self.path / "keystore"
        self.identity = self.path / "identity.key"
        self.ledger = self.path / "ledger"
        self.nats = self.path / "nats"
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self._lock_fd: int | None = None

    @property
    def lock_fd(self) -> int:
        """The lock, for processes to inherit that write to the home."""
        assert self._lock_fd is not None
        return self._lock_fd

    def lock(self) -> None:
        """Take the home. Raises HomeInUse, naming the other stack.

        Where that stack was killed, its processes are given a moment to end.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up = time.monotonic() + ORPHANS_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if _runs(self._facts().get("pid")) or time.monotonic() > give_up:
                    os.close(fd)
                    raise HomeInUse(self._other()) from None
            time.sleep(0.05)
        self._lock_fd = fd

    def prepare(self) -> None:
        """Make what is missing: folders, the first virtual key, the admin token, the keystore."""
        for folder in (self.ledger, self.nats, self.logs, self.run):
            folder.mkdir(exist_ok=True, mode=0o700)
        self.run_file.unlink(missing_ok=True)
        if not self.default_key.exists():
            write_private(self.default_key, virtual.issue().key + "\n")
        if not self.admin_token.exists():
            write_private(self.admin_token, secrets.token_urlsafe(32) + "\n")
        if not self.identity.exists():
            keystore.create(self.keystore, self.identity)

    def write_run(self, facts: dict[str, Any]) -> None:
        """Tell the CLI and the curious what runs where."""
        write_private(self.run_file, json.dumps(facts, indent=1) + "\n")

    def release(self) -> None:
        """Give the home back."""
        self.run_file.unlink(missing_ok=True)
        if self._lock_fd is not None:
            os.close(self._lock_fd)

    def _other(self) -> str:
        facts = self._facts()
        if "pid" not in facts:
            return "it is still starting"
        return f"pid {facts['pid']} serves {facts.get('url')}"

    def _facts(self) -> dict[str, Any]:
        try:
            return json.loads(self.run_file.read_text())
        except (OSError, ValueError):
            return {}


def _runs(pid: int | None) -> bool:
    """Whether the process is there; one that is not known counts as there."""
    if pid is None:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_private(path: Path, text: str) -> None:
    """Replace a file, readable by its owner only."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    temporary.replace(path)
