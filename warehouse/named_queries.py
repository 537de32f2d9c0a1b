"""Named reads: each is a file of `queries/` with bound parameters, so that no value is ever part of a statement."""

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from warehouse.client import Warehouse

FOLDER: Final = Path(__file__).parent / "queries"


@cache
def statement(name: str) -> str:
    """The text of a named read."""
    return (FOLDER / f"{name}.sql").read_text(encoding="utf-8")


async def ask(warehouse: Warehouse, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """All rows of a named read."""
    return await warehouse.rows(statement(name), parameters)


def stream(warehouse: Warehouse, name: str, **parameters: Any) -> AsyncIterator[list[tuple[Any, ...]]]:
    """The rows of a named read, block by block."""
    return warehouse.stream(statement(name), parameters)
