"""HTTP in: validates, stamps, appends to Kafka, answers. Reaches no store."""
