-- The joined traits of accounts.
SELECT group_id, name, trait, r.1 AS time_ms, r.2 AS message, r.3 AS value
FROM (SELECT group_id, name, trait, max(register) AS r FROM account_trait_store GROUP BY group_id, name, trait)
