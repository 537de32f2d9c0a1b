"""Segments and computed traits as ClickHouse SQL over history: the same answers as the evaluation in the stream. Pure."""

from domain.segments.sql.compile import computed_values, membership
from domain.segments.sql.query import Query

__all__ = ["Query", "computed_values", "membership"]
