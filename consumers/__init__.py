"""Kafka to ClickHouse: `feeds.py` is the table of topics, `loop.py` the loop that all of them share."""
