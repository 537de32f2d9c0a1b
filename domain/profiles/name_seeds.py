"""The seeds of names: what history puts into fragments that have dropped names, when a definition begins to read one. Pure.

**Why.** A fragment keeps every name that a definition reads, and a bounded number of others (`domain.profiles.bounds`). A trait
that no definition read yesterday may have been dropped then, and a new segment reads it today. Its value is in ClickHouse.

**Invariant.** After the seeds are applied, a fragment has of each newly read name what it would have if the definition had existed
before the first event. Traits join, so an event that the fragment applies only later does no harm. Counts add up, so they are
taken up to the offset that the fragment has applied, and only where the fragment has no count: a label that it counts was never
dropped.

**Example.** A browser sent 10,000 traits of one customer, and `shoe_size` was dropped. A segment that reads `shoe_size` is applied.
The owner's fragment says that it has dropped traits, so the owner's identify calls are read, and the latest `shoe_size` is joined
into the fragment. Fragments that have dropped nothing are not looked at: theirs is the common case.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from domain.profiles.fragment import Fragment, set_traits, supersedes
from schemas.events import BOT_FLAG, Event
from schemas.hashes import message_hash
from schemas.records import TraitValue

IDENTIFY_LABEL: Final = "$identify"


class NameSeeds:
    """Collects what events have of the names that definitions read from now on.

    `applied_offsets` has the owners whose fragments are seeded, each with the last offset that its fragment has applied.
    """

    def __init__(self, traits: frozenset[str], labels: frozenset[str], applied_offsets: Mapping[str, int]) -> None:
        self._traits = traits
        self._labels = labels
        self._applied_offsets = applied_offsets
        self._trait_seeds: dict[str, dict[str, TraitValue]] = {}
        self._counts: dict[str, Counter[str]] = {}

    def fold(self, offset: int, event: Event) -> None:
        """Fold an event of history, which stands at an offset of its partition. Each event is given once."""
        if event.owner not in self._applied_offsets:
            return
        if event.type == "identify" and not self._traits.isdisjoint(event.traits):
            seeds = self._trait_seeds.setdefault(event.owner, {})
            set_traits(seeds, event, message_hash(event.owner, event.id))
            for name in seeds.keys() - self._traits:
                del seeds[name]
        is_applied = offset <= self._applied_offsets[event.owner]
        if is_applied and event.label in self._labels and BOT_FLAG not in event.flags:
            self._counts.setdefault(event.owner, Counter())[event.label] += 1

    def apply_to(self, owner: str, fragment: Fragment) -> None:
        """Add the seeds of an owner to its fragment, in place."""
        for name, trait in self._trait_seeds.get(owner, {}).items():
            if supersedes(trait, fragment.traits.get(name)):
                fragment.traits[name] = trait
        for label, count in self._counts.get(owner, {}).items():
            fragment.counters.setdefault(label, count)


def labels_to_read(traits: frozenset[str], labels: frozenset[str]) -> tuple[str, ...]:
    """Return the labels of the events that have anything of these traits and labels."""
    return tuple(sorted(labels | ({IDENTIFY_LABEL} if traits else frozenset())))
