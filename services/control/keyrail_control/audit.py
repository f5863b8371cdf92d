"""One line in the log for each change that an admin made: who, what, which. Never a value."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


def changed(what: str, subject: str, **more: object) -> None:
    """Note a change. `what` such as `keys.rotate`; `subject` is an id, a name or a revision's number."""
    log.info("admin change", extra={"who": "admin", "what": what, "subject": subject, **more})
