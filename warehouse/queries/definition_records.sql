-- The newest record of each definition, those left out that remove one.
SELECT key, value FROM definition_store FINAL WHERE NOT removed ORDER BY offset
