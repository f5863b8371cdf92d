-- Prompts and answers of tenants that want them kept, encrypted to the tenant's own key before they left the worker. Apart from
-- the ledger, with grants and a lifetime of their own: nothing that reads costs can read these. What a merge or a deletion has
-- replaced leaves the disk half a minute later.
CREATE TABLE IF NOT EXISTS contents
(
    tenant LowCardinality(String),
    started_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    attempt_id UUID,
    request_id UUID,
    team LowCardinality(Nullable(String)),
    feature LowCardinality(Nullable(String)),
    route LowCardinality(Nullable(String)),
    provider LowCardinality(String),
    model LowCardinality(String),
    dialect LowCardinality(String),
    recipient String,
    request Nullable(String) CODEC(NONE),
    request_bytes UInt64,
    answer Nullable(String) CODEC(NONE),
    answer_bytes UInt64,
    expires_at DateTime('UTC'),
    INDEX by_request request_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(started_at)
ORDER BY (tenant, started_at, attempt_id)
TTL expires_at DELETE
SETTINGS non_replicated_deduplication_window = 100, merge_with_ttl_timeout = 3600, old_parts_lifetime = 30;

-- Up to when a tenant's contents were deleted. One that comes late and is of an attempt that started before is not inserted.
CREATE TABLE IF NOT EXISTS contents_deleted
(
    tenant LowCardinality(String),
    before DateTime64(3, 'UTC'),
    deleted_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(deleted_at)
ORDER BY (tenant, before)
TTL toDateTime(deleted_at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 100;
