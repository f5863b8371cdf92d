"""Looking for a secret in everything that a stack leaves behind: on the bus, on disk, in processes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

TESTS = Path(__file__).parents[1]


def disguises(value: str) -> list[bytes]:
    """The value, and every way that it can look like inside a longer text in base64."""
    raw = value.encode()
    forms = [raw, raw[::-1], raw.hex().encode()]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        forms.append(encoded[4 if shift else 0 : -4])
        urlsafe = base64.urlsafe_b64encode(b"\0" * shift + raw)
        forms.append(urlsafe[4 if shift else 0 : -4])
    return forms


def places_that_hold(value: str, places: Mapping[str, bytes]) -> list[str]:
    """Names of the texts that have the value in them, plain or disguised."""
    forms = disguises(value)
    return [name for name, text in places.items() if any(form in text for form in forms)]


def files_of(home: Path, but: Iterable[Path] = ()) -> dict[str, bytes]:
    """All files below the home, by path. Those of a stack that runs come and go."""
    left_out = {path.resolve() for path in but}
    found: dict[str, bytes] = {}
    for file in home.rglob("*"):
        with suppress(FileNotFoundError):
            if file.is_file() and file.resolve() not in left_out:
                found[str(file)] = file.read_bytes()
    return found


def processes_of(pids: Iterable[int]) -> dict[str, bytes]:
    """Environment and command line of each process."""
    return {
        f"/proc/{pid}/{name}": Path(f"/proc/{pid}/{name}").read_bytes()
        for pid in pids
        for name in ("environ", "cmdline")
    }


def tables_of(ledger: Path) -> dict[str, bytes]:
    """Every table of the embedded ledger, row by row as JSON. Its stack has stopped: it has one owner."""
    done = subprocess.run(
        [sys.executable, "-m", "support.tables", str(ledger)], cwd=TESTS, capture_output=True, check=True
    )
    return {f"table {name}": rows.encode() for name, rows in json.loads(done.stdout).items()}


class Tap:
    """A process that writes down every message on the bus: subject, reply, headers, payload.

    It reads the address and the set-up user's password from the home's own files.
    """

    def __init__(self, home: Path, file: Path) -> None:
        self.file = file
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.tap", str(home), str(file)], cwd=TESTS, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"

    def stop(self) -> bytes:
        """All that was heard."""
        self._process.terminate()
        assert self._process.wait(30) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self.file.read_bytes()
