-- Races and answers out of the cache: what an attempt was made for, whether it won, and of what usage its cost was worked out.
ALTER TABLE attempts
    ADD COLUMN IF NOT EXISTS role LowCardinality(String) DEFAULT 'serve' AFTER reference,
    ADD COLUMN IF NOT EXISTS basis LowCardinality(Nullable(String)) AFTER reference_usd,
    ADD COLUMN IF NOT EXISTS standing LowCardinality(Nullable(String)) AFTER settled_at;

-- One row for each decision about a request that asked for a route: who was looked at, what closed a gate, and why.
CREATE TABLE IF NOT EXISTS decisions
(
    request_id UUID,
    epoch UInt32,
    tenant LowCardinality(String),
    key_id String,
    team LowCardinality(Nullable(String)),
    feature LowCardinality(Nullable(String)),
    route LowCardinality(String),
    strategy LowCardinality(String),
    revision UInt64,
    task Nullable(String),
    targets Array(String),
    candidates String CODEC(ZSTD(1)),
    code LowCardinality(String),
    reason String CODEC(ZSTD(1)),
    propensity Float64,
    draw Nullable(Float64),
    failure LowCardinality(Nullable(String)),
    facts String CODEC(ZSTD(1)),
    router String,
    routed_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    INDEX by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(routed_at)
ORDER BY (tenant, routed_at, request_id, epoch)
TTL toDateTime(routed_at) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

-- One row for each word on how good an answer was. Of several with one id the first that was given stays: ranks fall with
-- time. Its time is no part of the key, so that a file that is imported again another day adds nothing.
CREATE TABLE IF NOT EXISTS verdicts
(
    verdict_id String,
    rank Int64,
    request_id Nullable(UUID),
    tenant LowCardinality(String),
    route LowCardinality(String),
    task String,
    target LowCardinality(String),
    score Float64,
    weight Float64,
    source LowCardinality(String),
    given_by Nullable(String),
    given_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    INDEX by_time given_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(rank)
ORDER BY (tenant, route, verdict_id)
TTL toDateTime(given_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;
