-- The joined evidence of every pair.
SELECT a, b, f.1 AS first_ms, f.2 AS first_event, l.2 AS last_ms, l.3 AS last_event, f.3 AS source, f.4 AS owner, f.5 AS rule,
    f.6 AS rules
FROM (SELECT a, b, min(first) AS f, min(last) AS l FROM evidence_store GROUP BY a, b)
