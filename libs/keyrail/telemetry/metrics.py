"""Every metric, in one place. Labels are closed sets: never ids, never text that a client wrote."""

from __future__ import annotations

from prometheus_client import REGISTRY
from pydantic import BaseModel

from keyrail.telemetry.instruments import Count, Counter, Distribution, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

# Counter: requests that ingress answered, by HTTP status class ("2xx").
REQUESTS = Counter("keyrail_requests", "Requests answered", ["status_class", "stream"])
# Histogram: seconds from the request's arrival to its last byte.
REQUEST_SECONDS = Histogram("keyrail_request_duration_seconds", "Request duration", buckets=_SECONDS)
# Gauge: requests under way at ingress.
REQUESTS_IN_FLIGHT = Gauge("keyrail_requests_in_flight", "Requests under way")
# Counter: requests that ingress gave out again because their worker was gone or silent.
REDISPATCHES = Counter("keyrail_redispatches", "Requests dispatched again", ["reason"])
# Counter: requests refused for their credential.
AUTH_FAILURES = Counter("keyrail_auth_failures", "Refused credentials", ["reason"])
# Counter: requests refused by a limit of their key or team ("requests", "tokens", "concurrent"), or because
# the bus could not be asked ("unavailable").
LIMIT_REFUSALS = Counter("keyrail_limit_refusals", "Requests refused by a limit", ["kind"])
# Counter: changes of limits' documents: shares taken and given back.
LIMIT_CHANGES = Counter("keyrail_limit_changes", "Changes of shares of limits", ["outcome"])
# Counter: frames that came from an attempt that ingress had given up: money that may have been paid twice.
STALE_ATTEMPTS = Counter("keyrail_stale_attempts", "Attempts heard of after they were given up")
# Counter: gaps in a frame sequence; each ended a request with an error.
FRAME_GAPS = Counter("keyrail_frame_gaps", "Gaps in frame sequences")
# Counter: decisions not recorded, because too many waited for JetStream.
DECISIONS_LOST = Counter("keyrail_decisions_lost", "Decisions that the ledger never heard of")
# Counter: plans made, by strategy ("none": refused).
PLANS = Counter("keyrail_plans", "Routing decisions", ["strategy"])
# Counter: requests that a budget did not pay for, by whose it is (key, team, tenant).
BUDGET_REFUSALS = Counter("keyrail_budget_refusals", "Requests refused for a budget", ["scope"])
# Counter: attempts that did cost more than what was held for them.
BUDGET_OVERRUNS = Counter("keyrail_budget_overruns", "Attempts that cost more than was held for them")
# Counter: alerts on budgets, by kind (budget-soft, budget-hard).
BUDGET_ALERTS = Counter("keyrail_budget_alerts", "Alerts on budgets", ["kind"])
# Gauge: requests that a router holds money for.
BUDGET_HOLDS = Gauge("keyrail_budget_holds", "Requests that money is held for")
# Counter: changes of the documents of budgets, by outcome (changed, same, failed).
BUDGET_CHANGES = Counter("keyrail_budget_changes", "Changes of documents of budgets", ["outcome"])
# Counter: races, by mode and outcome ("won", "failed", "broken" after the winner's first part, "cancelled").
RACES = Counter("keyrail_races", "Races", ["mode", "outcome"])
# Gauge: races under way at this racer, those whose losers have not ended yet too.
RACES_IN_FLIGHT = Gauge("keyrail_races_in_flight", "Races under way")
# Counter: contenders started, by role (race, hedge).
RACE_CONTENDERS = Counter("keyrail_race_contenders", "Contenders of races", ["role"])
# Counter: contenders not started because the route's budget for losers, or the request's hold, did not pay.
RACES_UNPAID = Counter("keyrail_race_unpaid", "Contenders that nothing paid for", ["mode"])
# Counter: upstream attempts, by provider and how they ended.
ATTEMPTS = Counter("keyrail_upstream_attempts", "Upstream attempts", ["provider", "outcome"])
# Histogram: seconds to the provider's first byte.
FIRST_BYTE_SECONDS = Histogram(
    "keyrail_first_byte_seconds", "Time to first byte", ["provider"], buckets=_SECONDS
)
# Gauge: attempts under way.
ATTEMPTS_IN_FLIGHT = Gauge("keyrail_attempts_in_flight", "Attempts under way")
# Counter: attempts that succeeded and whose price is unknown.
UNKNOWN_PRICE = Counter("keyrail_unknown_price", "Attempts without a known price", ["provider"])
# Counter: slips that came too late to be taken: somebody else has them by now.
LATE_SLIPS = Counter("keyrail_late_slips", "Slips not taken because their time was over")
# Counter: dollars, for dashboards; the truth is the ledger.
COST_USD = Counter("keyrail_cost_usd", "Known cost", ["provider"])
# Counter: tokens by type (input, output).
TOKENS = Counter("keyrail_tokens", "Tokens", ["provider", "type"])
# Gauge: provider keys that are out, as this worker sees it.
KEYS_OUT = Gauge("keyrail_keys_out", "Provider keys that are out", ["provider", "reason"])
# Counter: how often a provider key went out. Every worker counts what its own attempts met.
KEY_OUTS = Counter("keyrail_key_outs", "Provider keys put out", ["provider", "reason"])
# Counter: alerts raised for a provider key that stays out until somebody does something.
KEY_ALERTS = Counter("keyrail_key_alerts", "Alerts raised for provider keys", ["provider", "kind"])
# Gauge: breakers of targets that are open, as this worker sees it.
BREAKERS_OPEN = Gauge("keyrail_breakers_open", "Targets whose breaker is open", ["provider"])
# Counter: how often a breaker opened, by the kind of failure that opened it. Every worker counts its own.
BREAKER_OPENS = Counter("keyrail_breaker_opens", "Breakers opened", ["provider", "why"])
# Counter: attempts at a target that had failed for the same request, by the kind of that failure.
RETRIES = Counter("keyrail_retries", "Attempts at the same target again", ["provider", "after"])
# Counter: such attempts that were not made because the tenant's budget for extra attempts was used up.
RETRY_REFUSALS = Counter("keyrail_retry_refusals", "Retries that the budget for extra attempts refused")
# Counter: requests of routes for which a target was passed over, by why: its "breaker", its provider's
# "limits", or because it is coming back ("ramp").
STEERED = Counter("keyrail_steered", "Requests for which a target was passed over", ["why"])
# Counter: what providers said of their limits, told to others because little is left.
WINDOWS_TOLD = Counter("keyrail_windows_told", "Rate limits nearly used up, told to others", ["provider"])
# Counter: publishes of events that were not acknowledged and are tried again.
EVENT_RETRIES = Counter("keyrail_event_retries", "Event publishes tried again", ["subject"])
# Counter: contents of attempts of tenants that want them kept, by what became of them: "kept", "partial" (a
# part was too large), or not kept: "memory" (too much waited), "full" (the stream is), "bus", "off" (no more
# wanted), "failed".
CONTENTS = Counter("keyrail_contents", "Contents of attempts", ["outcome"])
# Gauge: bytes of contents that wait in this worker, for their answer's end or to be published.
CONTENTS_HELD_BYTES = Gauge("keyrail_contents_held_bytes", "Bytes of contents held")
# Counter: requests that a rule of the cache applies to, by what became of them: "hit", "miss" or "bypass",
# and the last one's reason.
CACHE = Counter("keyrail_cache_requests", "Requests that the cache was asked for", ["result", "reason"])
# Counter: answers that might have been kept, by what became of them: "kept", or why not.
CACHE_KEPT = Counter("keyrail_cache_answers", "Answers offered to the cache", ["outcome"])
# Counter: bytes of entries that this worker wrote.
CACHE_BYTES = Counter("keyrail_cache_written_bytes", "Bytes of kept answers")
# Counter: dollars that hits did not cost, for dashboards; the truth is the ledger.
CACHE_SAVED_USD = Counter("keyrail_cache_saved_usd", "What answers out of the cache had cost")
# Counter: what the bus did not do for the cache in time ("read", "write", "lease"), or too much at once
# ("busy"). Never an error to a client.
CACHE_ERRORS = Counter("keyrail_cache_errors", "Times the cache went without the bus", ["what"])
# Gauge: requests that wait for another's answer.
CACHE_WAITING = Gauge("keyrail_cache_waiting", "Requests that wait for another's answer")
# Counter: reconnections to NATS.
BUS_RECONNECTS = Counter("keyrail_nats_reconnects", "Reconnections to NATS")
# Counter: errors that the NATS client reported, by class.
BUS_ERRORS = Counter("keyrail_nats_errors", "Errors of the NATS client", ["error"])
# Gauge: 1 for the state that Vault is in as this process sees it, 0 for the others.
VAULT_STATE = Gauge("keyrail_vault_state", "How Vault answers", ["state"])
# Counter: calls of Vault, by how they ended; "ok" counts what is not there as well.
VAULT_CALLS = Counter("keyrail_vault_calls", "Calls of Vault", ["result"])
# Gauge: seconds since the provider keys that were confirmed longest ago were; they end at the hard TTL.
VAULT_STALE_SECONDS = Gauge("keyrail_vault_stale_seconds", "Age of the oldest cached provider keys")


def counter(metric: Counter, *labels: str) -> Count:
    """The counter for these label values."""
    return metric.labels(*labels)


def histogram(metric: Histogram, *labels: str) -> Distribution:
    """The histogram for these label values."""
    return metric.labels(*labels)


class Sample(BaseModel):
    """One line of an exposition."""

    name: str
    labels: dict[str, str]
    value: float


class Family(BaseModel):
    """One metric of one instance, as it travels over the bus."""

    name: str
    help: str
    type: str
    samples: list[Sample]


class Exposition(BaseModel):
    """All metrics of one instance."""

    service: str
    instance: str
    families: list[Family]


def collect(service: str, instance: str) -> Exposition:
    """What this process has counted."""
    families = [
        Family(
            name=family.name,
            help=family.documentation,
            type=family.type,
            samples=[
                Sample(name=s.name, labels=s.labels, value=s.value)
                for s in family.samples
                if not s.name.endswith("_created")
            ],
        )
        for family in REGISTRY.collect()
    ]
    return Exposition(service=service, instance=instance, families=[f for f in families if f.samples])


def render(expositions: list[Exposition]) -> bytes:
    """Prometheus' text format over many instances, each sample labelled with its service and instance."""
    heads: dict[str, Family] = {}
    lines: dict[str, list[str]] = {}
    for exposition in expositions:
        for family in exposition.families:
            heads.setdefault(family.name, family)
            for sample in family.samples:
                labels = {**sample.labels, "service": exposition.service, "instance": exposition.instance}
                inner = ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items())
                lines.setdefault(family.name, []).append(f"{sample.name}{{{inner}}} {sample.value!r}\n")
    text: list[str] = []
    for name, family in heads.items():
        shown = f"{name}_total" if family.type == "counter" else name
        text.append(f"# HELP {shown} {family.help}\n# TYPE {shown} {family.type}\n")
        text.extend(lines[name])
    return "".join(text).encode()


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
