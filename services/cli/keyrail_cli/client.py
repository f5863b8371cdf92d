"""The admin API of the stack that runs in `$KEYRAIL_HOME`."""

from __future__ import annotations

import os

from keyrail.http.admin import AdminClient

from keyrail_cli.home import admin, home


def connect() -> AdminClient:
    """A client of the running stack. Raises NotRunning."""
    return AdminClient(*admin(home(os.environ)))  # noqa: TID251 - the CLI's one setting
