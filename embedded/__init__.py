"""The embedded stack: real Kafka, Redis and ClickHouse as child processes, and Onefold's roles beside them."""
