-- One row for each upstream call. Rows of one attempt merge to the highest rank (started 0, swept 1, settled 2).
-- The sorting key is a pure function of the event, so that a redelivered event lands on the row it repeats.
-- LowCardinality only where people group: parsing it costs a microsecond a value.
-- Ordering by the start keeps the rows of one attempt near each other: FINAL, pages and ranges stay cheap.
CREATE TABLE IF NOT EXISTS attempts
(
    attempt_id UUID,
    request_id UUID,
    rank UInt8,
    status LowCardinality(String),
    tenant LowCardinality(String),
    key_id String,
    team LowCardinality(Nullable(String)),
    feature LowCardinality(Nullable(String)),
    route Nullable(String),
    strategy String,
    revision UInt64,
    epoch UInt32,
    hop UInt32,
    provider LowCardinality(String),
    model LowCardinality(String),
    provider_key_id Nullable(String),
    worker String,
    stream Bool,
    started_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    failure Nullable(String),
    detail Nullable(String) CODEC(ZSTD(1)),
    http_status Nullable(UInt16),
    finish Nullable(String),
    upstream_id Nullable(String) CODEC(ZSTD(1)),
    input_tokens Nullable(UInt64),
    output_tokens Nullable(UInt64),
    cache_read_tokens Nullable(UInt64),
    cache_write_tokens Nullable(UInt64),
    reasoning_tokens Nullable(UInt64),
    audio_input_tokens Nullable(UInt64),
    audio_output_tokens Nullable(UInt64),
    served_tier Nullable(String),
    estimated Bool,
    usage_raw Nullable(String) CODEC(ZSTD(1)),
    cost_usd Nullable(Decimal(18, 12)),
    price_source Nullable(String),
    price_version Nullable(String),
    first_byte_ms Nullable(UInt64),
    first_content_ms Nullable(UInt64),
    duration_ms Nullable(UInt64),
    settled_at Nullable(DateTime64(3, 'UTC')),
    INDEX by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_rank rank TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(started_at)
ORDER BY (tenant, started_at, attempt_id)
TTL toDateTime(started_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

-- One row for each request that left the gateway.
CREATE TABLE IF NOT EXISTS requests
(
    request_id UUID,
    rank UInt8,
    tenant LowCardinality(String),
    key_id String,
    team LowCardinality(Nullable(String)),
    feature LowCardinality(Nullable(String)),
    model LowCardinality(String),
    dialect String,
    stream Bool,
    status LowCardinality(String),
    http_status UInt16,
    failure Nullable(String),
    detail Nullable(String) CODEC(ZSTD(1)),
    dispatches UInt32,
    ingress String,
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    first_byte_ms Nullable(UInt64),
    duration_ms UInt64,
    INDEX by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(received_at)
ORDER BY (tenant, received_at, request_id)
TTL toDateTime(received_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
