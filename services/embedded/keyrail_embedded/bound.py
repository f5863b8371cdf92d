"""Run a foreign program that ends with its parent: `python bound.py PROGRAM ARGUMENT...` (Linux)."""

import ctypes
import os
import signal
import sys

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, kept over exec
os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - the supervisor's own constant command
