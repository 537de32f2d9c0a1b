"""What a step decides for a slice. One place (`streams.applier`) turns it into effects."""

from collections import Counter
from dataclasses import dataclass, field

from profile_store.port import Writes
from runtime.bus.port import Outgoing


@dataclass(frozen=True, slots=True)
class Outcome:
    """Writes for the profile store, records to produce, and counts by result for the metrics.

    `expected` and `fence` are the stored position and fence that the decision was made on; `paused` asks to wait and decide again.
    `lateness_ms` has an entry for each timer that was evaluated (not for one that was only replayed): from its instant to the
    decision's `now_ms`.
    """

    expected: int | None = None
    paused: bool = False
    fence: int | None = None
    writes: Writes = field(default_factory=Writes)
    produce: tuple[Outgoing, ...] = ()
    results: Counter[str] = field(default_factory=Counter)
    lateness_ms: tuple[int, ...] = ()
