-- The value behind every node of the stored events.
SELECT DISTINCT node, identifier.1 AS namespace, identifier.2 AS value
FROM event_store FINAL
ARRAY JOIN nodes AS node, identifiers AS identifier
