"""Run a foreign program that ends with its parent: `python bound.py PROGRAM ARGUMENT...` (Linux)."""

import ctypes
import os
import signal
import sys

parent = os.environ.get("KEYRAIL_PARENT")  # noqa: TID251
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, kept over exec
if parent is not None and os.getppid() != int(parent):
    sys.exit(1)  # it went before it was asked to tell
os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - the supervisor's own constant command
