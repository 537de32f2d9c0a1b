"""Checks of the laws that incrementally maintained memberships must satisfy, for any definitions and any history."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from domain.definitions.kinds import AnyDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.profiles.fragment import Fragment, apply_event, encode_fragment
from domain.profiles.join import join_fragments
from domain.segments.plan import SegmentPlan
from domain.segments.value_counts import REMEMBERED_PER_CAPACITY, SKETCH_COLUMNS, is_sketch
from schemas.events import Event
from tests.support.random_definitions import random_definitions
from tests.support.random_values import BASES, DAY_MS, SPAN_DAYS
from tests.support.segment_histories import Arrival, RandomSegmentHistory, random_history
from tests.support.segment_stream import SegmentStream


class SegmentWorld:
    """Definitions and one history, both random by a seed. Every third world has small registers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.base_ms = self.rng.choice(BASES)
        self.end_ms = self.base_ms + (SPAN_DAYS + 6) * DAY_MS
        self.history: RandomSegmentHistory = random_history(self.rng, f"h{seed}", self.base_ms)
        self.register_bound = self.rng.choice((None, None, 2))
        self.definitions: list[AnyDefinition] = random_definitions(
            self.rng, self.base_ms, self.history.nodes, 12, register_bound=self.register_bound
        )
        self.plan = segment_plan_of(self.definitions)


def check_all(world: SegmentWorld) -> int:
    """Check all laws of the stream and return how many verdicts were compared; raises AssertionError."""
    compared = check_time(world)
    check_order(world)
    check_parts(world)
    return compared


def check_time(world: SegmentWorld) -> int:
    """Check at every step, and around and between announced changes, that memberships equal an evaluation from scratch."""
    stream = SegmentStream(world.plan, world.rng)
    compared, arrivals = 0, list(world.history.arrivals)
    for number, arrival in enumerate(arrivals):
        stream.apply_arrival(arrival)
        if not stream.pending:
            compared += check_equals_scratch_evaluation(stream)
        until = arrivals[number + 1].at_ms if number + 1 < len(arrivals) else world.end_ms
        for at_ms in probes(stream, world.rng, until, 2 if until < world.end_ms else 12):
            stream.advance_to(at_ms)
            compared += check_equals_scratch_evaluation(stream)
    stream.advance_to(world.end_ms)
    return compared + check_equals_scratch_evaluation(stream)


def probes(stream: SegmentStream, rng: random.Random, until_ms: int, most: int) -> list[int]:
    """Return instants before the next arrival: just before, at and just after announced changes, and random ones."""
    start = stream.now_ms
    if until_ms - start < 2:
        return []
    announced = [
        at_ms for document in stream.documents.values() for at_ms in document.next_change_ms.values() if start < at_ms < until_ms
    ]
    near = [at_ms + beside for at_ms in announced for beside in (-1, 0, 1)]
    near += [rng.randrange(start + 1, until_ms) for _ in range(2)]
    return sorted(at_ms for at_ms in rng.sample(near, min(most, len(near))) if start < at_ms < until_ms)


def check_equals_scratch_evaluation(stream: SegmentStream) -> int:
    """Check that the stream's memberships and computed traits equal an evaluation from scratch; return the number of comparisons.

    Raises AssertionError that names the segment or trait, the profile and both answers.
    """
    assert stream.documents.keys() == set(stream.profiles()), "a profile without events has memberships, or one with some has none"
    for name in stream.profiles():
        membership = stream.documents[name]
        computed, verdicts = stream.plan.evaluate_all(stream.facts(name), stream.now_ms)
        inside = {segment for segment, verdict in verdicts.items() if verdict.is_member}
        differ = {
            segment: (segment in membership.active_segments(), segment in inside)
            for segment in membership.active_segments() ^ inside
        }
        assert not differ, f"at {stream.now_ms}, of {name}: (kept, from nothing) {differ}"
        assert membership.computed == computed, (
            f"at {stream.now_ms}, of {name}: {membership.computed} kept, {computed} from nothing"
        )
    return len(stream.profiles()) * len(stream.plan.segments)


def check_order(world: SegmentWorld) -> None:
    """Check that shuffled and duplicated events give the same fragments, byte for byte, and the same answers."""
    events, labels = world.history.events, final_labels(world.history)
    shuffled = [*events, *world.rng.choices(events, k=len(events) // 2)]
    world.rng.shuffle(shuffled)
    answers = []
    for order in (events, shuffled):
        stream = SegmentStream(world.plan, world.rng, coalesce=0.5)
        for event in order:
            stream.apply_arrival(Arrival(world.end_ms, event))
        stream.relabel(labels)
        bytes_of = {owner: encode_fragment(fragment) for owner, fragment in stream.fragments.items()}
        answers.append(
            (bytes_of, {name: (document.active_segments(), document.computed) for name, document in stream.documents.items()})
        )
    assert answers[0][0] == answers[1][0], "fragments depend on the order"
    assert answers[0][1] == answers[1][1], "memberships depend on the order"


def final_labels(history: RandomSegmentHistory) -> Mapping[str, str]:
    """Return the labels at the end of the history."""
    return next((arrival.labels for arrival in reversed(history.arrivals) if arrival.labels is not None), {})


def check_parts(world: SegmentWorld) -> None:
    """Check that fragments join to the same profile however events are spread over them, and that registers stay bounded."""
    events, registers = world.history.events, world.plan.registers
    whole = spread([events], world.plan)
    cuts = [world.rng.randrange(3) for _ in events]
    parts = spread([[event for event, cut in zip(events, cuts, strict=True) if cut == part] for part in range(3)], world.plan)
    assert parts == whole, "the parts do not join to the whole"
    for key, entries in whole["kept"].items():
        assert len(entries) <= registers[key].capacity, "a register is larger than its bound"
    for key, tally in whole["tallies"].items():
        exact = registers[key].capacity
        bound = REMEMBERED_PER_CAPACITY * exact + SKETCH_COLUMNS + 1 if is_sketch(tally) else exact
        assert len(tally) <= bound, "a tally is larger than its bound"


def spread(parts: Sequence[Sequence[Event]], plan: SegmentPlan) -> dict[str, Any]:
    """Return the join of the fragments that contain these parts of the events."""
    fragments = [Fragment() for _ in parts]
    for fragment, events in zip(fragments, parts, strict=True):
        for event in events:
            apply_event(fragment, event, plan)
    joined = join_fragments(fragments, plan.registers, retained=plan.retained)
    return {
        "traits": joined.traits, "counters": joined.counters, "kept": joined.register_entries, "tallies": joined.tallies,
        "named": joined.event_identifiers, "accounts": joined.accounts, "seen": (joined.first_seen_ms, joined.last_seen_ms),
    }  # fmt: skip
