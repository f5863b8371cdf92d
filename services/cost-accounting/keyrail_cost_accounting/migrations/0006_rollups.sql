-- Sums over the deduplicated rows of `attempts`, by minute, hour and day of the attempt's start (UTC). A sum is never added
-- to: it is computed again from the rows, and the newest computation replaces the ones before it. So whatever is delivered
-- twice, late, or priced again changes no sum wrongly.
-- requests: attempts that were the first of their request. failed_usd: cost of attempts that did not end `ok`.
-- retried_usd: cost of attempts that were not the first. cache_saved_usd: what the providers' prompt caches saved, less what
-- writing them cost; routing_saved_usd: what the route saved against its reference. Unknown costs are counted, not summed; tokens are
-- NULL where none of the attempts has a count.
CREATE TABLE IF NOT EXISTS costs_minute
(
    tenant LowCardinality(String),
    bucket DateTime('UTC') CODEC(Delta, ZSTD(1)),
    team LowCardinality(Nullable(String)),
    feature LowCardinality(Nullable(String)),
    route LowCardinality(Nullable(String)),
    provider LowCardinality(String),
    model LowCardinality(String),
    key_id String,
    provider_key_id LowCardinality(Nullable(String)),
    requests UInt64,
    attempts UInt64,
    running UInt64,
    ok UInt64,
    failed UInt64,
    cancelled UInt64,
    lost UInt64,
    input_tokens Nullable(UInt64),
    output_tokens Nullable(UInt64),
    cache_read_tokens Nullable(UInt64),
    cache_write_tokens Nullable(UInt64),
    reasoning_tokens Nullable(UInt64),
    cost_usd Decimal(38, 12),
    unknown_cost_attempts UInt64,
    estimated_attempts UInt64,
    estimated_usd Decimal(38, 12),
    failed_usd Decimal(38, 12),
    retried_usd Decimal(38, 12),
    cache_saved_usd Decimal(38, 12),
    routing_saved_usd Decimal(38, 12),
    computed_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMMDD(bucket)
ORDER BY (tenant, bucket, team, feature, route, provider, model, key_id, provider_key_id)
TTL bucket + INTERVAL 14 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1, allow_nullable_key = 1;

CREATE TABLE IF NOT EXISTS costs_hour
(
    tenant LowCardinality(String),
    bucket DateTime('UTC') CODEC(Delta, ZSTD(1)),
    team LowCardinality(Nullable(String)),
    feature LowCardinality(Nullable(String)),
    route LowCardinality(Nullable(String)),
    provider LowCardinality(String),
    model LowCardinality(String),
    key_id String,
    provider_key_id LowCardinality(Nullable(String)),
    requests UInt64,
    attempts UInt64,
    running UInt64,
    ok UInt64,
    failed UInt64,
    cancelled UInt64,
    lost UInt64,
    input_tokens Nullable(UInt64),
    output_tokens Nullable(UInt64),
    cache_read_tokens Nullable(UInt64),
    cache_write_tokens Nullable(UInt64),
    reasoning_tokens Nullable(UInt64),
    cost_usd Decimal(38, 12),
    unknown_cost_attempts UInt64,
    estimated_attempts UInt64,
    estimated_usd Decimal(38, 12),
    failed_usd Decimal(38, 12),
    retried_usd Decimal(38, 12),
    cache_saved_usd Decimal(38, 12),
    routing_saved_usd Decimal(38, 12),
    computed_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(bucket)
ORDER BY (tenant, bucket, team, feature, route, provider, model, key_id, provider_key_id)
TTL bucket + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1, allow_nullable_key = 1;

CREATE TABLE IF NOT EXISTS costs_day
(
    tenant LowCardinality(String),
    bucket DateTime('UTC') CODEC(Delta, ZSTD(1)),
    team LowCardinality(Nullable(String)),
    feature LowCardinality(Nullable(String)),
    route LowCardinality(Nullable(String)),
    provider LowCardinality(String),
    model LowCardinality(String),
    key_id String,
    provider_key_id LowCardinality(Nullable(String)),
    requests UInt64,
    attempts UInt64,
    running UInt64,
    ok UInt64,
    failed UInt64,
    cancelled UInt64,
    lost UInt64,
    input_tokens Nullable(UInt64),
    output_tokens Nullable(UInt64),
    cache_read_tokens Nullable(UInt64),
    cache_write_tokens Nullable(UInt64),
    reasoning_tokens Nullable(UInt64),
    cost_usd Decimal(38, 12),
    unknown_cost_attempts UInt64,
    estimated_attempts UInt64,
    estimated_usd Decimal(38, 12),
    failed_usd Decimal(38, 12),
    retried_usd Decimal(38, 12),
    cache_saved_usd Decimal(38, 12),
    routing_saved_usd Decimal(38, 12),
    computed_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYear(bucket)
ORDER BY (tenant, bucket, team, feature, route, provider, model, key_id, provider_key_id)
TTL bucket + INTERVAL 1830 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1, allow_nullable_key = 1;

-- How far the sums are: they hold every row of `attempts` with `inserted_at` before `watermark`, less 90 seconds.
CREATE TABLE IF NOT EXISTS rollups
(
    scope LowCardinality(String),
    watermark DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(watermark)
ORDER BY scope
SETTINGS non_replicated_deduplication_window = 1000;
