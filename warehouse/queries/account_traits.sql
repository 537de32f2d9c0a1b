-- The joined traits of accounts.
SELECT group_id, name, trait, r.1 AS trusted, r.2 AS time_ms, r.3 AS message, r.4 AS value
FROM (SELECT group_id, name, trait, max(register) AS r FROM account_trait_registers GROUP BY group_id, name, trait)
