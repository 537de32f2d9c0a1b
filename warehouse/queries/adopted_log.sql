-- The Kafka log that offsets belong to now. At most one row.
SELECT epoch, cluster_id, topic_ids, secret_fingerprint FROM adopted_logs FINAL ORDER BY epoch DESC LIMIT 1
