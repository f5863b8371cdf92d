"""Every NATS subject, in one place. Tokens are [a-z0-9-]; one exists only where someone filters by it."""

REQUEST = "kr.v1.req"
REQUESTS_TO = "kr.v1.req.to.*"
CALLS = "kr.v1.call.*"
CALLS_TO = "kr.v1.call.to.*"
RACES = "kr.v1.race"
RACES_TO = "kr.v1.race.to.*"
ALIVE = "kr.v1.ctl.alive.*"
METRICS = "kr.v1.ctl.metrics"
LEDGER = "kr.v1.ctl.ledger"
KEY_TEST = "kr.v1.ctl.keytest"
CACHE_PURGED = "kr.v1.ctl.cachepurged"
"""The tenant whose kept answers are gone, or nothing: everybody's. Workers forget what they hold of them."""
EVENTS = "kr.v1.evt.>"
EVENT_ATTEMPT = "kr.v1.evt.attempt"
EVENT_REQUEST = "kr.v1.evt.request"
EVENT_ALERT = "kr.v1.evt.alert"
EVENT_ROUTED = "kr.v1.evt.routed"
EVENT_VERDICT = "kr.v1.evt.verdict"
CONTENT = "kr.v1.cnt.attempt"
"""Encrypted prompts and answers. Apart from events, so that they can't fill the stream that money is in."""
DEAD_LETTERS = "kr.v1.dlq.>"
DEAD_LETTER_COST_ACCOUNTING = "kr.v1.dlq.cost-accounting"


def call(provider: str) -> str:
    """Where workers take calls to this provider."""
    return f"kr.v1.call.{provider}"


def request_to(router: str) -> str:
    """Where one router takes requests, when others of its queue group are silent."""
    return f"kr.v1.req.to.{router}"


def call_to(worker: str) -> str:
    """Where one worker takes calls, when others of its queue group are silent."""
    return f"kr.v1.call.to.{worker}"


def race_to(racer: str) -> str:
    """Where one racer takes races, when others of its queue group are silent."""
    return f"kr.v1.race.to.{racer}"


def alive(service: str) -> str:
    """Where instances of this service announce themselves."""
    return f"kr.v1.ctl.alive.{service}"


def cancel(worker: str) -> str:
    """Where one worker hears cancels. No responders here means that the worker is gone."""
    return f"kr.v1.ctl.cancel.{worker}"


def settled(router: str) -> str:
    """Where one router hears what the attempts that it holds money for did cost."""
    return f"kr.v1.ctl.settled.{router}"


def inbox_prefix(service: str) -> str:
    """The inbox prefix of a service: nobody else may subscribe below it."""
    return "_INBOX_" + service.replace("-", "_")
