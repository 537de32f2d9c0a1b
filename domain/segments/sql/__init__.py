"""Segments and computed traits as ClickHouse SQL over history: the same answers as the evaluation in the stream. Pure."""

from domain.segments.sql.compile import computed_values_query, membership_query
from domain.segments.sql.query import SqlQuery

__all__ = ["SqlQuery", "computed_values_query", "membership_query"]
