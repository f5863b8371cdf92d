"""What a service tells its supervisor: one word a line on an inherited file descriptor, as with sd_notify."""

from __future__ import annotations

import contextlib
import os
from typing import Literal

State = Literal["ready", "draining"]


def tell(fd: int | None, state: State) -> None:
    """Say it, if somebody listens."""
    if fd is not None:
        with contextlib.suppress(OSError):
            os.write(fd, f"{state}\n".encode())
