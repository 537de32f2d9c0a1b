"""A history twice: in ClickHouse, and as the facts that the stream would have of it. For comparing the two."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from domain.profiles import fragment as model
from warehouse import rows
from warehouse.client import Warehouse
from warehouse.tables import EVENT_STORE, LABELS
from runtime.bus.port import Record
from schemas.events import Event
from domain.segments.profile_facts import Facts
from domain.segments.plan import Plan
from domain.segments.sql import computed_values, membership


async def keep(warehouse: Warehouse, events: Sequence[Event], labels: Mapping[str, str] | None = None) -> None:
    """Insert events as they arrived, and which profile each node belongs to."""
    arrived = [rows.event(Record("events", 0, offset, 0, b"", None), one) for offset, one in enumerate(events)]
    await warehouse.insert(EVENT_STORE, arrived)
    await warehouse.insert(LABELS, [(node, profile_id, 1) for node, profile_id in (labels or {}).items()])


def profiles(plan: Plan, events: Sequence[Event], labels: Mapping[str, str], at_ms: int) -> dict[str, Facts]:
    """What the stream has of each profile at an instant."""
    fragments: dict[str, dict[str, model.Fragment]] = {}
    for one in events:
        if one.time_ms <= at_ms:
            profile_id = labels.get(one.owner, one.owner)
            model.apply(fragments.setdefault(profile_id, {}).setdefault(one.owner, model.Fragment()), one, plan)
    found = {}
    for profile_id, held in fragments.items():
        joined = model.join(held.values(), plan.registers)
        nodes = {profile_id, *(node for node, label in labels.items() if label == profile_id)}
        named = {namespace for namespace, _ in joined.named}
        found[profile_id] = Facts(joined.traits, joined.kept, joined.tallies, profile_id=profile_id, nodes=nodes, named=named)
    return found


def streamed(plan: Plan, facts: Mapping[str, Facts], at_ms: int) -> dict[str, Any]:
    """Members of each segment, and the values of each computed trait, as the stream has them."""
    at = {profile_id: plan.at(one, at_ms) for profile_id, one in facts.items()}
    members = {name: sorted(one for one, (_, verdicts) in at.items() if verdicts[name].member) for name in plan.segments}
    values = {name: {one: shown[name] for one, (shown, _) in at.items() if name in shown} for name in plan.computed}
    return {"members": members, "values": values}


async def asked(warehouse: Warehouse, plan: Plan, at_ms: int) -> dict[str, Any]:
    """The same of ClickHouse."""
    members, values = {}, {}
    for name in plan.segments:
        query = membership(plan, name, at_ms)
        members[name] = sorted(row[0] for row in await warehouse.rows(query.sql, query.parameters))
    for name in plan.computed:
        query = computed_values(plan, name, at_ms)
        values[name] = {row[0]: json.loads(row[1]) for row in await warehouse.rows(query.sql, query.parameters)}
    return {"members": members, "values": values}


async def same(warehouse: Warehouse, plan: Plan, events: Sequence[Event], labels: Mapping[str, str], *at_ms: int) -> dict[str, Any]:
    """Asserts that both say the same at each instant; what they say at the last."""
    said: dict[str, Any] = {}
    for instant in at_ms:
        said = streamed(plan, profiles(plan, events, labels, instant), instant)
        found = await asked(warehouse, plan, instant)
        for part, by_name in said.items():
            for name, expected in by_name.items():
                assert found[part][name] == expected, f"{name} at {instant}"
    return said
