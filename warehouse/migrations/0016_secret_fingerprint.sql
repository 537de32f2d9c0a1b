-- Which tenant secret keyed the hashes that are stored, as a keyed hash of a fixed text; empty for stores of before.
ALTER TABLE {database}.adopted_logs ADD COLUMN IF NOT EXISTS secret_fingerprint String AFTER topic_ids;
