-- The operator's prices, one row for each revision of the configuration that changed one. They are in force, in the sense of
-- contracts, from `since`; they were known from `recorded_at`. US dollars per million tokens (searches: per thousand).
CREATE TABLE IF NOT EXISTS prices
(
    provider LowCardinality(String),
    model LowCardinality(String),
    since DateTime64(3, 'UTC'),
    revision UInt64,
    recorded_at DateTime64(3, 'UTC'),
    removed Bool,
    input Nullable(Decimal(18, 12)),
    output Nullable(Decimal(18, 12)),
    cache_read Nullable(Decimal(18, 12)),
    cache_write Nullable(Decimal(18, 12)),
    cache_write_1h Nullable(Decimal(18, 12)),
    audio_input Nullable(Decimal(18, 12)),
    audio_output Nullable(Decimal(18, 12)),
    searches Nullable(Decimal(18, 12)),
    discount Nullable(Decimal(18, 12)),
    multipliers Map(String, Decimal(18, 12))
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (provider, model, since, revision)
SETTINGS non_replicated_deduplication_window = 1000;

-- What providers say they served or billed: one row for each line of a report. A line that is imported again replaces itself.
CREATE TABLE IF NOT EXISTS provider_reports
(
    provider LowCardinality(String),
    day Date,
    kind LowCardinality(String),
    account_key String,
    key_id Nullable(String),
    model String,
    line String,
    requests Nullable(UInt64),
    input_tokens Nullable(UInt64),
    output_tokens Nullable(UInt64),
    cache_read_tokens Nullable(UInt64),
    cache_write_tokens Nullable(UInt64),
    cost_usd Nullable(Decimal(38, 12)),
    source LowCardinality(String),
    import_id UUID,
    imported_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(imported_at)
PARTITION BY toYYYYMM(day)
ORDER BY (provider, day, kind, account_key, model, line)
TTL day + INTERVAL 1830 DAY
SETTINGS non_replicated_deduplication_window = 1000;
