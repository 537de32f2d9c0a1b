"""What a customer keeps is bounded, and which names stay follows from the set of events: any order, any grouping, any rebuild."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.definitions.kinds import Segment, load_yaml
from domain.definitions.segment_plan import segment_plan_of
from domain.profiles import bounds
from domain.profiles.fragment import MAX_ACCOUNTS, Fragment, apply_event, decode_fragment, encode_fragment
from domain.profiles.join import join_fragments
from schemas.events import Event
from schemas.hashes import text_hash
from tests.support.events import START_MS, event
from tests.support.rounds import rounds
from tests.support.simulated_pipeline import Pipeline

READERS = [
    document
    for document in load_yaml(
        """
apiVersion: onefold/v1
kind: Segment
metadata: {name: tall}
spec: {where: {trait: {path: chiều_cao, op: gte, value: 170}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: buyers}
spec: {where: {did: {event: Đặt hàng, at_least: 2}}}
""",
        "test",
    )
    if isinstance(document, Segment)
]
PLAN = segment_plan_of(READERS)
NAMES = [f"sở thích {number}" for number in range(12)]
LABELS = [f"Sự kiện {number}" for number in range(12)]


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("MAX_TRAITS", 4), ("MAX_COUNTERS", 3), ("MAX_IDENTIFIERS", 2), ("MAX_LINKS", 3)):
        monkeypatch.setattr(bounds, name, limit)


@st.composite
def histories(draw: st.DrawFn, owners: int = 1) -> list[Event]:
    """Draw events that name more traits, events and identifiers than there are places for."""
    events = []
    for number in range(draw(st.integers(1, 25))):
        identify = draw(st.booleans())
        seen_with = {"anonymous_id": f"cookie-{draw(st.integers(0, 9))}"} if draw(st.booleans()) else {}
        names = draw(st.lists(st.sampled_from([*NAMES, "chiều_cao", "name"]), max_size=4)) if identify else []
        events.append(
            event(
                {"user_id": f"khách-{draw(st.integers(1, owners))}", **seen_with},
                id=f"m{number}",
                type="identify" if identify else "track",
                name="" if identify else draw(st.sampled_from([*LABELS, "Đặt hàng"])),
                time_ms=START_MS + draw(st.integers(0, 5)),
                traits={name: draw(st.sampled_from([None, 165, 175, "Huế"])) for name in names},
                trusted=draw(st.booleans()),
            )
        )
    return events


def fragments_of(events: Sequence[Event], slices: random.Random | None = None) -> dict[str, Fragment]:
    """Return the fragments of these events; with `slices` they are now and then stored and read back, as between slices."""
    fragments: dict[str, Fragment] = {}
    for item in events:
        apply_event(fragments.setdefault(item.owner, Fragment()), item, PLAN)
        if slices is not None and slices.random() < 0.3:
            fragments[item.owner] = decode_fragment(encode_fragment(fragments[item.owner]))
    return fragments


@given(history=histories(owners=2), seed=st.integers(0, 1 << 32))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_duplication_and_slicing_keeps_the_same_names(history: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    wild = [*history, *rng.choices(history, k=len(history))]
    rng.shuffle(wild)
    expected = {owner: encode_fragment(fragment) for owner, fragment in fragments_of(history).items()}
    assert {owner: encode_fragment(fragment) for owner, fragment in fragments_of(wild, rng).items()} == expected


@given(history=histories(), seed=st.integers(0, 1 << 32))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_split_into_fragments_joins_to_the_same_names(history: list[Event], seed: int) -> None:
    rng, parts = random.Random(seed), [Fragment() for _ in range(3)]
    for item in history:
        apply_event(rng.choice(parts), item, PLAN)
    rng.shuffle(parts)
    whole = fragments_of(history).values()
    split, joined = (join_fragments(fragments, PLAN.registers, None, PLAN.retained) for fragments in (parts, whole))
    assert (split.traits, split.trait_values, split.counters) == (joined.traits, joined.trait_values, joined.counters)


@given(history=histories())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_stays_are_the_best_ranks_and_what_definitions_read(history: list[Event]) -> None:
    (fragment,) = fragments_of(history).values()
    trusted = {name for item in history for name in item.traits if item.trusted}
    for kind, names, limit, retained, stored in (
        ("traits", {name for item in history for name in item.traits}, 4, PLAN.retained.traits, set(fragment.traits)),
        ("counters", {item.label for item in history}, 3, PLAN.retained.labels, set(fragment.counters)),
    ):
        best = sorted(names, key=lambda name: (name not in trusted, text_hash(name)))[:limit]
        assert stored == {*best, *(names & retained)}
        assert (kind in fragment.dropped) == (len(names) > limit)
    assert history[0].owner in fragment.identifiers
    named = {node for item in history for node in item.nodes if item.trusted}
    for namespace in {namespace for item in history for namespace, _ in item.identifiers}:
        own = {node for item in history for node, pair in zip(item.nodes, item.identifiers, strict=True) if pair[0] == namespace}
        best = sorted(own, key=lambda node: (node not in named, node[-16:]))[: bounds.MAX_IDENTIFIERS]
        assert own & fragment.identifiers.keys() == {*best, *(own & {history[0].owner})}
    assert set(fragment.public_nodes) == fragment.identifiers.keys() - named
    assert len(fragment.identifiers) <= 2 * bounds.MAX_IDENTIFIERS
    assert len(fragment.links) <= bounds.MAX_LINKS


def test_a_flood_by_a_public_key_displaces_nothing_of_trusted_sources() -> None:
    trusted = [
        event({"user_id": "khách-1", "email": "lan@shop.vn"}, id="t1", type="identify", traits={"hạng": "vàng"}),
        event({"user_id": "khách-1"}, id="t2", type="group", properties={"groupId": "ông chủ"}),
    ]
    flood = [
        event(
            {"user_id": "khách-1", "email": f"{number}@thu.vn"},
            id=f"p{number}",
            type="identify" if number % 2 else "group",
            properties={} if number % 2 else {"groupId": f"{number:03}"},
            traits={f"x{number}": number} if number % 2 else {},
            trusted=False,
        )
        for number in range(400)
    ]
    for history in ([*trusted, *flood], [*flood, *trusted]):
        (fragment,) = fragments_of(history).values()
        joined = join_fragments([fragment], PLAN.registers, None, PLAN.retained)
        assert joined.traits["hạng"] == "vàng"
        assert ("email", "lan@shop.vn") in joined.identifiers
        assert "ông chủ" in joined.accounts
        assert len(joined.accounts) == MAX_ACCOUNTS


@given(history=histories())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_definition_that_goes_leaves_what_would_have_been_there_without_it(history: list[Event]) -> None:
    bare = segment_plan_of([])
    never: dict[str, Fragment] = {}
    for item in history:
        apply_event(never.setdefault(item.owner, Fragment()), item, bare)
    before, after = (
        join_fragments(fragments.values(), bare.registers, None, bare.retained) for fragments in (fragments_of(history), never)
    )
    assert (before.traits, before.counters) == (after.traits, after.counters)


@given(history=histories(owners=2), seed=st.integers(0, 1 << 32), partitions=st.integers(1, 3))
@settings(
    max_examples=rounds(quick=30, thorough=200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_the_agents_store_the_same_bytes_through_crashes_and_publish_the_evidence_of_dropped_pairs(
    history: list[Event], seed: int, partitions: int
) -> None:
    rng = random.Random(seed)
    nodes = sorted({node for item in history for node in item.nodes})
    states = []
    for events, pipeline in (
        (history, Pipeline(random.Random(0), READERS)),
        (rng.sample(history * 2, len(history) * 2), Pipeline(rng, READERS, partitions=partitions, crash_rate=0.3)),
    ):
        pipeline.clock.advance(400_000_000)
        for item in events:
            pipeline.feed(item)
        await pipeline.drain()
        states.append(await pipeline.state(nodes))
        neighbours = await pipeline.store.neighbours(nodes)
        states[-1]["edges"] = {
            node: {other: (edge.first_ms, edge.last_ms) for other, edge in entry.edges.items()}
            for node, entry in neighbours.items()
        }
    assert states[0] == states[1]
    edges = states[0]["edges"]
    assert isinstance(edges, dict)
    assert all(other in edges[item.owner] for item in history for other in item.nodes if other != item.owner)
