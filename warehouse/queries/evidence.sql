-- The joined evidence of every pair.
SELECT a, b, f.2 AS first_ms, f.3 AS first_event, l.3 AS last_ms, l.4 AS last_event, f.4 AS source, f.5 AS owner, f.6 AS rule,
    f.7 AS rules, toBool(f.1 = 0) AS trusted
FROM (SELECT a, b, min(first) AS f, min(last) AS l FROM pair_evidence GROUP BY a, b)
