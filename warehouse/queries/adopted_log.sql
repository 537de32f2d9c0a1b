-- The Kafka log that offsets belong to now. At most one row.
SELECT epoch, cluster_id, topic_ids FROM adopted_logs FINAL ORDER BY epoch DESC LIMIT 1
