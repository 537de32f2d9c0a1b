"""ClickHouse, the memory: tables, migrations, rows, inserts and named reads. The only home of its driver."""
