"""Loads a history into ClickHouse and computes the stream's facts of the same history, to compare the two."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from domain.profiles.fragment import Fragment, apply_event
from domain.profiles.join import join_fragments
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import ProfileFacts
from domain.segments.sql.compile import computed_values_query, membership_query
from runtime.bus.port import Record
from schemas.events import NOBODY, Event
from warehouse import rows
from warehouse.client import Warehouse
from warehouse.tables import EVENT_STORE, LABELS


async def load_history(warehouse: Warehouse, events: Sequence[Event], labels: Mapping[str, str] | None = None) -> None:
    """Insert events as they arrived, and which profile each node belongs to."""
    arrived = [rows.event_row(Record("events", 0, offset, 0, b"", None), item) for offset, item in enumerate(events)]
    await warehouse.insert(EVENT_STORE, arrived)
    await warehouse.insert(LABELS, [(node, profile_id, 1) for node, profile_id in (labels or {}).items()])


def stream_facts(plan: SegmentPlan, events: Sequence[Event], labels: Mapping[str, str], at_ms: int) -> dict[str, ProfileFacts]:
    """Return what the stream knows of each profile at an instant."""
    fragments: dict[str, dict[str, Fragment]] = {}
    for item in events:
        if item.time_ms <= at_ms and item.owner != NOBODY:
            profile_id = labels.get(item.owner, item.owner)
            apply_event(fragments.setdefault(profile_id, {}).setdefault(item.owner, Fragment()), item, plan)
    facts_by_profile = {}
    for profile_id, owner_fragments in fragments.items():
        joined = join_fragments(owner_fragments.values(), plan.registers, retained=plan.retained)
        nodes = {profile_id, *(node for node, label in labels.items() if label == profile_id)}
        named = {namespace for namespace, _ in joined.event_identifiers}
        facts_by_profile[profile_id] = ProfileFacts(
            joined.traits, joined.register_entries, joined.tallies, profile_id=profile_id, nodes=nodes, namespaces=named
        )
    return facts_by_profile


def stream_answers(plan: SegmentPlan, facts: Mapping[str, ProfileFacts], at_ms: int) -> dict[str, Any]:
    """Return the members of each segment and the values of each computed trait, as the stream computes them."""
    evaluations = {profile_id: plan.evaluate_all(profile_facts, at_ms) for profile_id, profile_facts in facts.items()}
    members = {
        name: sorted(one for one, (_, verdicts) in evaluations.items() if verdicts[name].is_member) for name in plan.segments
    }
    values = {
        name: {one: computed[name] for one, (computed, _) in evaluations.items() if name in computed} for name in plan.computed
    }
    return {"members": members, "values": values}


async def sql_answers(warehouse: Warehouse, plan: SegmentPlan, at_ms: int) -> dict[str, Any]:
    """Return members and computed values as ClickHouse computes them."""
    members, values = {}, {}
    for name in plan.segments:
        query = membership_query(plan, name, at_ms)
        members[name] = sorted(row[0] for row in await warehouse.query(query.sql, query.parameters))
    for name in plan.computed:
        query = computed_values_query(plan, name, at_ms)
        values[name] = {row[0]: json.loads(row[1]) for row in await warehouse.query(query.sql, query.parameters)}
    return {"members": members, "values": values}


async def assert_stream_equals_sql(
    warehouse: Warehouse, plan: SegmentPlan, events: Sequence[Event], labels: Mapping[str, str], *at_ms: int
) -> dict[str, Any]:
    """Check that the stream and SQL answer alike at each instant; return the stream's answers at the last one."""
    stream_side: dict[str, Any] = {}
    for instant in at_ms:
        stream_side = stream_answers(plan, stream_facts(plan, events, labels, instant), instant)
        sql_side = await sql_answers(warehouse, plan, instant)
        for part, by_name in stream_side.items():
            for name, expected in by_name.items():
                assert sql_side[part][name] == expected, f"{name} at {instant}"
    return stream_side
