-- What became of records in quarantine: everything that was ever done about each, by whom and why. The latest holds.
CREATE TABLE IF NOT EXISTS {database}.settlements
(
    id String,
    action Enum8('replayed' = 1, 'discarded' = 2),
    by String,
    because String,
    at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (id, at, action);
