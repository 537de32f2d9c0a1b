"""Named queries: each is a file of `queries/` with bound parameters, so that no value ever becomes part of a statement."""

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from warehouse.client import Warehouse

QUERIES_FOLDER: Final = Path(__file__).parent / "queries"


@cache
def query_text(name: str) -> str:
    """Return the text of a named query."""
    return (QUERIES_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


async def fetch_rows(warehouse: Warehouse, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return all rows of a named query."""
    return await warehouse.query(query_text(name), parameters)


def stream_rows(warehouse: Warehouse, name: str, **parameters: Any) -> AsyncIterator[list[tuple[Any, ...]]]:
    """Yield the rows of a named query, block by block."""
    return warehouse.stream_query(query_text(name), parameters)
