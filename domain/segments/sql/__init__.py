"""Segments and computed traits as ClickHouse SQL over history: the same answers as the evaluation in the stream. Pure."""
