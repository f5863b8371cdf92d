"""Gives back memory that the embedded engine does not need.

chDB is one shared object of 555 MB. Its loader touches 200 MB of it once; those pages stay resident although
few are used again. They are clean copies of the file, so that they can be dropped: the kernel reads back,
from its page cache, what is needed after all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

LIBRARIES = ("_chdb.abi3.so", "libpybind11nonlimitedapi", "/pyarrow/")
READ_ONLY = frozenset({"r--p", "r-xp"})
MADV_DONTNEED = 4


def droppable(smaps: Iterable[str], libraries: tuple[str, ...] = LIBRARIES) -> list[tuple[int, int]]:
    """Address ranges (start, end), from the lines of /proc/self/smaps, that are exactly what their file says.

    Read-only is not enough: relocated constants are read-only too, and no copy of the file. Only mappings
    without a single anonymous page qualify.
    """
    found: list[tuple[int, int]] = []
    candidate: tuple[int, int] | None = None
    for line in smaps:
        name, *rest = line.split()
        if not name.endswith(":"):
            start, _, end = name.partition("-")
            library = len(rest) == 5 and any(library in rest[4] for library in libraries)
            candidate = (int(start, 16), int(end, 16)) if library and rest[0] in READ_ONLY else None
        elif name == "Anonymous:" and rest[0] == "0" and candidate is not None:
            found.append(candidate)
    return found


def release() -> int:
    """Drop the engine's clean pages; returns the address space covered, in bytes. Linux only, elsewhere 0."""
    try:
        with open("/proc/self/smaps") as smaps:
            ranges = droppable(smaps)
    except OSError:
        return 0
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(end - start for start, end in ranges if libc.madvise(start, end - start, MADV_DONTNEED) == 0)
