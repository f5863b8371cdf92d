-- Which attempt of its request it is, and what money could have been saved, or was: the same tokens without any cache, and
-- at the reference of the route. `region` as the provider reports it, where that changes the price.
-- `inserted_at` says which minutes' sums are not those of the rows any more. No client sends it.
ALTER TABLE attempts
    ADD COLUMN IF NOT EXISTS number UInt16 DEFAULT if(epoch <= 1 AND hop = 0, 1, 2) AFTER held_usd,
    ADD COLUMN IF NOT EXISTS reference Nullable(String) AFTER number,
    ADD COLUMN IF NOT EXISTS region Nullable(String) AFTER served_tier,
    ADD COLUMN IF NOT EXISTS uncached_usd Nullable(Decimal(18, 12)) AFTER price_version,
    ADD COLUMN IF NOT EXISTS reference_usd Nullable(Decimal(18, 12)) AFTER uncached_usd,
    ADD COLUMN IF NOT EXISTS inserted_at DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC') CODEC(Delta, ZSTD(1));
ALTER TABLE attempts ADD INDEX IF NOT EXISTS by_inserted_at inserted_at TYPE minmax GRANULARITY 1;
-- Rows from before have one moment for good: until it is written, each read makes it up again, and all minutes look new.
ALTER TABLE attempts MATERIALIZE COLUMN inserted_at;
