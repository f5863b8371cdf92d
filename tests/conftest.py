"""CI repeats itself: what hypothesis finds there must be found again by whoever looks into it."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
