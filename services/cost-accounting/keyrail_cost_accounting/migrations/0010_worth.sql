-- What a good answer was worth in a smart route that keeps a share of its reference's quality: with it a decision can be made again.
ALTER TABLE decisions
    ADD COLUMN IF NOT EXISTS worth Nullable(Float64) AFTER draw;
