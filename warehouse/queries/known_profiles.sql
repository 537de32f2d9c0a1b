-- The latest change of every profile that was ever merged or split.
SELECT profile_id, latest.1 AS version, latest.2 AS members, latest.3 AS merged_into, latest.4 AS split_from, latest.5 AS cause,
    toUnixTimestamp64Milli(latest.6) AS at_ms
FROM
(
    SELECT profile_id, max((version, members, merged_into, split_from, cause, at)) AS latest
    FROM identity_store
    GROUP BY profile_id
)
