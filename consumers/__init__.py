"""Log to ClickHouse: each file is one topic to one table."""
