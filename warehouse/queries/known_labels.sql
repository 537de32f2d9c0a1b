-- The profile of every node that has ever been labelled.
SELECT node, argMax(profile_id, version) AS profile_id FROM labels GROUP BY node
