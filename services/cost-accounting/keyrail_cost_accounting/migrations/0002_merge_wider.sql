-- Inserts are small and come every second. Merging twenty parts at a time instead of five or six writes a row
-- a third as often; FINAL reads some more parts for that.
ALTER TABLE attempts MODIFY SETTING min_parts_to_merge_at_once = 20;
ALTER TABLE requests MODIFY SETTING min_parts_to_merge_at_once = 20;
