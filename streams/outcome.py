"""What a step decides for a slice. Only the applier (`streams.applier`) turns it into effects."""

from collections import Counter
from dataclasses import dataclass, field

from profile_store.port import Writes
from runtime.bus.port import Outgoing


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decision of a step for one slice."""

    expected: int | None = None
    """The stored position on which the decision was made. The store refuses the writes if it has another one by then."""
    paused: bool = False
    """True when the step must not decide now: the applier waits and asks again."""
    fence: int | None = None
    """The stored fence on which the decision was made. The store refuses the writes if the writers were fenced since then."""
    writes: Writes = field(default_factory=Writes)
    """What changes in the profile store."""
    produce: tuple[Outgoing, ...] = ()
    """The records to send once the writes are in the store."""
    results: Counter[str] = field(default_factory=Counter)
    """How many records had which result, for the metrics."""
    dropped_names: Counter[str] = field(default_factory=Counter)
    """How many names the fragments had no place for, by what they name, for the metrics."""
    approximate: tuple[str, ...] = ()
    """The segments and computed traits whose answer is approximate because their registers were too small, once per answer."""
    lateness_ms: tuple[int, ...] = ()
    """For each timer that was evaluated, and not only replayed: the time from its instant to the decision's `now_ms`."""
