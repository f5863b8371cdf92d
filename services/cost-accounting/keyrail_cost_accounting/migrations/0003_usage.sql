-- What a provider bills apart: prompt tokens that it keeps cached for an hour, and searches of the web.
ALTER TABLE attempts
    ADD COLUMN IF NOT EXISTS cache_write_1h_tokens Nullable(UInt64) AFTER cache_write_tokens,
    ADD COLUMN IF NOT EXISTS searches Nullable(UInt64) AFTER audio_output_tokens;
