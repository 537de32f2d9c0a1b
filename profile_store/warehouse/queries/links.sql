SELECT a, b, min(first) AS first, max(last_day) AS last_day FROM links GROUP BY a, b
