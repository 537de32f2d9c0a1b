"""The comparison of stream and SQL detects mistakes: with each of these the stream soon differs from SQL."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from domain.profiles import fragment, join
from domain.segments import comparisons, registers, windows
from domain.segments.leaves import calendar, sequence
from domain.segments.profile_facts import ProfileFacts
from schemas.records import TraitValue
from tests.support.segment_mutations import LEAVES_PACKAGE, patch_in_package
from tests.support.segment_sql_comparison import ComparisonBatch, SqlAnswers, compare_answers, query_sql
from tests.support.segment_stream import SegmentStream
from warehouse.client import Warehouse

SEEDS = range(1_000_003, 1_000_015)
"""Not those of the law itself; as many as it takes."""
PEOPLE, SEGMENTS = 60, 30
Mutation = Callable[[pytest.MonkeyPatch], None]


def _as_is(value: Any) -> Any:
    return value


def _no_nfc(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(comparisons, comparisons.normalise_nfc.__name__, _as_is)


def _distinct_without_nfc(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(registers, comparisons.normalise_nfc.__name__, _as_is)


def _coercion(patch: pytest.MonkeyPatch) -> None:
    def number(value: Any) -> Any:
        return float(value) if isinstance(value, str) and re.fullmatch(r"[0-9]+", value) else value

    holds = comparisons.holds
    patch.setattr(registers, comparisons.holds.__name__, lambda condition, value: holds(condition, number(value)))


def _booleans_count_as_numbers(patch: pytest.MonkeyPatch) -> None:
    kind_of = comparisons.value_kind
    patch.setattr(registers, comparisons.value_kind.__name__, lambda value: "number" if isinstance(value, bool) else kind_of(value))


def _missing_differs(patch: pytest.MonkeyPatch) -> None:
    holds = comparisons.holds
    patch_in_package(
        patch, LEAVES_PACKAGE, comparisons.holds.__name__,
        lambda condition, value: condition.op == "ne" if value is None else holds(condition, value),
    )  # fmt: skip


def _bots_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fragment, "BOT_FLAG", "nobody")


def _closed_windows(patch: pytest.MonkeyPatch) -> None:
    def mutant(entries: Any, within: int | None, now_ms: int) -> windows.WindowEntries:
        return windows_inside(entries, None if within is None else within + 1, now_ms)

    windows_inside = windows.entries_in_window
    patch_in_package(patch, "domain.segments", windows.entries_in_window.__name__, mutant)


def _same_instant_follows(patch: pytest.MonkeyPatch) -> None:
    followed = sequence._is_followed

    def mutant(first: Any, follows: Any, length: int | None) -> bool:
        return followed((first[0] - 1, *first[1:]), follows, None if length is None else length + 1)

    patch.setattr(sequence, sequence._is_followed.__name__, mutant)


def _nested_only(patch: pytest.MonkeyPatch) -> None:
    def mutant(values: Any, path: str) -> Any:
        for part in path.split("."):
            values = values.get(part) if isinstance(values, dict) else None
        return values

    patch_in_package(patch, "domain.segments", comparisons.lookup.__name__, mutant)


def _zones_ignored(patch: pytest.MonkeyPatch) -> None:
    zone_of = calendar.zone_of
    patch.setattr(calendar, calendar.zone_of.__name__, lambda _name, _default: zone_of("UTC", "UTC"))


def _merges_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SegmentStream, SegmentStream.relabel.__name__, lambda *_: None)


def _no_timers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SegmentStream, SegmentStream.due.__name__, lambda _: {})


def _first_is_last(patch: pytest.MonkeyPatch) -> None:
    join = registers.Register.join

    def mutant(self: registers.Register, parts: Any) -> Any:
        return join(replace(self, form="newest") if self.form == "oldest" else self, parts)

    patch.setattr(registers.Register, registers.Register.join.__name__, mutant)


def _yes_wins(patch: pytest.MonkeyPatch) -> None:
    """Let a subscription win over an opt-out when one event contains both for a channel."""
    subscription = registers._subscription_status

    def mutant(preferences: Any, channel: str) -> bool | None:
        answers = [subscription([preference], channel) for preference in (preferences if isinstance(preferences, list) else ())]
        return True if True in answers else False if False in answers else None

    patch.setattr(registers, registers._subscription_status.__name__, mutant)


def _unnamed_lists(patch: pytest.MonkeyPatch) -> None:
    facts = SegmentStream.facts

    def mutant(self: SegmentStream, name: str) -> ProfileFacts:
        return replace(facts(self, name), nodes=(name,))

    patch.setattr(SegmentStream, SegmentStream.facts.__name__, mutant)


def _trust_ignored(patch: pytest.MonkeyPatch) -> None:
    def mutant(trait: TraitValue, current: TraitValue | None) -> bool:
        return current is None or (trait.time_ms, trait.id) > (current.time_ms, current.id)

    name = fragment.supersedes.__name__
    for module in (fragment, join):
        patch.setattr(module, name, mutant)


MUTATIONS: dict[str, Mutation] = {
    "a trait of a trusted source stays": _trust_ignored,
    "text is compared in NFC": _no_nfc,
    "values are told apart in NFC": _distinct_without_nfc,
    "a number as text is no number": _coercion,
    "true is no amount": _booleans_count_as_numbers,
    "what is missing differs from nothing": _missing_differs,
    "bots do nothing": _bots_count,
    "windows are half open": _closed_windows,
    "what follows is later": _same_instant_follows,
    "a path is a key first": _nested_only,
    "days begin where the customer lives": _zones_ignored,
    "who merges is one": _merges_ignored,
    "time passes": _no_timers,
    "the first is not the last": _first_is_last,
    "no is said louder": _yes_wins,
    "a list names any identifier": _unnamed_lists,
}


@pytest.mark.clickhouse
@pytest.mark.timeout(900)
async def test_each_mutation_makes_the_stream_differ_from_sql(warehouse: Warehouse) -> None:
    unseen = dict(MUTATIONS)
    for seed in SEEDS:
        batch = ComparisonBatch(seed, PEOPLE, SEGMENTS)
        sql_answers = await query_sql(batch, warehouse)
        compare_answers(batch, sql_answers)
        unseen = {name: mutate for name, mutate in unseen.items() if agree(batch, sql_answers, mutate)}
        if not unseen:
            return
    pytest.fail(f"{len(SEEDS)} batches hold without these rules: {', '.join(unseen)}")


def agree(batch: ComparisonBatch, sql_answers: Sequence[SqlAnswers], mutate: Mutation) -> bool:
    """Return whether the stream still agrees with SQL when it contains this mistake."""
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        try:
            compare_answers(batch, sql_answers)
        except AssertionError:
            return False
    return True
