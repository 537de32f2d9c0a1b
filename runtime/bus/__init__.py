"""The bus: what a broker promises, its in-memory twin and its Kafka driver."""
