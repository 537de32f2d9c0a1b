"""The ClickHouse engine as a child process: loopback only, in ClickHouse's own HTTP protocol."""
