-- How many profiles each segment has, according to the latest transitions.
SELECT segment, count() AS members, max(since) AS newest FROM memberships GROUP BY segment ORDER BY segment
