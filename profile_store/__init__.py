"""What is remembered: Redis (now) and ClickHouse (always)."""
