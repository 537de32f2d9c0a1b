"""Cutting a long sequence into chunks of bounded size. Pure."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def chunked(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in their order, `size` at a time; the last chunk may be shorter, and no items make no chunk."""
    return (items[start : start + size] for start in range(0, len(items), size))
