-- What an attempt counts towards, beside its scope: the time at which its request came in, the router that held money
-- for it, and how much. NULL: nothing was held, or the row is older than budgets.
ALTER TABLE attempts
    ADD COLUMN IF NOT EXISTS received_at Nullable(DateTime64(3, 'UTC')) AFTER started_at,
    ADD COLUMN IF NOT EXISTS router Nullable(String) AFTER received_at,
    ADD COLUMN IF NOT EXISTS held_usd Nullable(Decimal(18, 12)) AFTER router;

-- One row for each alert. One that is raised again keeps the time at which it was raised first: ranks fall with time.
CREATE TABLE IF NOT EXISTS alerts
(
    alert_id String,
    rank Int64,
    kind LowCardinality(String),
    tenant LowCardinality(String),
    subject String,
    detail String,
    raised_by String,
    raised_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(rank)
ORDER BY alert_id
TTL toDateTime(raised_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;
