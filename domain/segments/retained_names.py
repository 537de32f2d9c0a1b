"""The names that a fragment keeps however many others there are: those that definitions read, and the usual ones. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from schemas.events import CALL_TYPES

COMMON_TRAITS: Final = frozenset(
    (
        "address", "age", "avatar", "birthday", "city", "company", "country", "createdAt", "description", "email", "firstName",
        "gender", "id", "language", "lastName", "name", "phone", "title", "username", "website",
    )
)  # fmt: skip
"""Traits that are kept without a definition that reads them: Segment's own names for what most customers have."""
COMMON_LABELS: Final = frozenset(f"${kind}" for kind in ("identify", "page", "screen", "group", "alias", *CALL_TYPES))
MAX_READ_TRAITS: Final = 500
"""How many different traits all definitions together may read, so that the largest profile fits into one record."""


@dataclass(frozen=True, slots=True)
class RetainedNames:
    """The names of traits and the labels of events that are always kept. All others share a bounded number of places."""

    traits: frozenset[str] = field(default=COMMON_TRAITS)
    labels: frozenset[str] = field(default=COMMON_LABELS)


COMMON_NAMES: Final = RetainedNames()


def names_on_path(path: str) -> frozenset[str]:
    """Return the traits that a dotted path may mean: the one that is spelled like all of it, and the one of its first part."""
    return frozenset((path, path.partition(".")[0]))


def names_on_paths(paths: Iterable[str]) -> frozenset[str]:
    """Return the traits that any of these paths may mean."""
    return frozenset[str]().union(*map(names_on_path, paths))
