"""A profile store whose writers are shut out: how far each place stands, and writing beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ops.writers_pause import places_of
from profile_store.port import Document, Kind, Place, ProfileStore, Writes
from runtime.bus.partitioner import partition_of
from runtime.bus.port import Bus
from runtime.settings import Settings

TOPICS = ("events", "links", "touched", "groups")


@dataclass(slots=True)
class Frozen:
    """Made under a hold, and good as long as that lasts."""

    store: ProfileStore
    places: Mapping[str, Mapping[int, Place]]
    expected: dict[Place, int | None]

    @classmethod
    async def freeze(cls, settings: Settings, bus: Bus, store: ProfileStore) -> "Frozen":
        """Shut the writers of every place out: whoever loads from now on sees the hold, whatever was loaded before is refused."""
        places: dict[str, dict[int, Place]] = {topic: {} for topic in TOPICS}
        expected: dict[Place, int | None] = {}
        for place in await places_of(settings, bus, *TOPICS):
            places[place.topic][place.partition] = place
            expected[place] = (await store.shut_out(place)).position
        return cls(store, places, expected)

    def offsets(self, topic: str) -> dict[int, int]:
        """By partition, the next offset that the topic's agent reads."""
        return {number: self.expected[place] or 0 for number, place in self.places[topic].items()}

    def place_of(self, topic: str, key: str) -> Place:
        """The place whose partition a key falls into."""
        numbers = self.places[topic]
        return numbers[partition_of(key.encode(), len(numbers))]

    def applied(self, place: Place, document: Document) -> int:
        """Up to which offset of its place a document stands for: nothing of the place before its position is missing in it."""
        return max(document.applied(place), (self.expected[place] or 0) - 1)

    async def put(self, place: Place, documents: Mapping[tuple[Kind, str], tuple[bytes, Document]]) -> None:
        """Write data in place of each document, with a guard that refuses whatever comes again; the position stays.

        A document that was written at the place's very last offset is refused: that one is written under another guard first. Cut
        off in between, it has a guard that refuses nothing, and the message ids of its window do until it is written again.
        """
        found = {name: Document(data, place.name, self.applied(place, before)) for name, (data, before) in documents.items()}
        refused = await self._save(place, found)
        if refused:
            aside = f"backfill {place.name}"
            await self._save(place, {name: replace(found[name], guard=aside) for name in refused})
            await self._save(place, {name: found[name] for name in refused})

    async def _save(self, place: Place, documents: Mapping[tuple[Kind, str], Document]) -> frozenset[tuple[Kind, str]]:
        expected = self.expected[place]
        refused = await self.store.save(place, expected, expected or 0, Writes(documents=documents))
        self.expected[place] = expected or 0
        return refused
