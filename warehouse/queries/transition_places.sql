-- Where the transitions of deliveries lie in `memberships`; -1 for those of versions that did not store it.
SELECT key, partition, offset
FROM
(
    SELECT key, any(profile_id) AS profile_id, any(segment) AS segment, any(seq) AS seq
    FROM deliveries
    WHERE has({keys:Array(String)}, key)
    GROUP BY key
) AS delivery
INNER JOIN (SELECT profile_id, segment, seq, partition, offset FROM transitions FINAL) AS transition USING (profile_id, segment, seq)
