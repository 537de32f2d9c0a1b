"""Measure how right Onefold's clusters are on the FEBRL data sets.

`python -m tests.support.identity_accuracy` prints the tables of the docs.
"""

import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from domain.identity.clusters import Evidence, resolve
from domain.identity.evidence import add_event_edges
from domain.identity.model import Edges
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec
from streams.steps.link import LinkStep
from tests.support.events import SECRET
from tests.support.febrl import (
    FILES,
    FebrlRecord,
    Keys,
    PairwiseScore,
    identify_event,
    read_records,
    score,
    session_node,
    ssn,
    ssn_and,
    ssn_and_composites,
)
from tests.support.simulated_pipeline import Pipeline


def rules(spec: object) -> CompiledIdentityRules:
    """Return the compiled rules of a definition's `spec`."""
    return CompiledIdentityRules.from_spec(IdentityRulesSpec.model_validate(spec), secret=SECRET, country="AU")


Limits = Literal["shipped", "many numbers", "none", "only `max_neighbours`", "only `max_members`"]
RULES: Final[Mapping[Limits, CompiledIdentityRules]] = {
    "shipped": DEFAULT_RULES,
    "many numbers": rules({"namespaces": {"crm_id": {"max_per_profile": "unlimited"}}}),
    "none": CompiledIdentityRules(max_neighbours={}, max_per_profile={}, max_members=sys.maxsize),
    "only `max_neighbours`": CompiledIdentityRules(max_per_profile={}, max_members=sys.maxsize),
    "only `max_members`": CompiledIdentityRules(max_neighbours={}, max_per_profile={}),
}
"""With `many numbers` a person may have several social security numbers: those of FEBRL have typing errors."""


@dataclass(frozen=True, slots=True)
class Clustering:
    """Clusters of records, how many identifiers the largest has, and how many links joined nothing, by reason."""

    groups: dict[str, str]
    members: int
    dead: Counter[str]


@cache
def cluster_at_once(name: str, keys: Keys, limits: Limits = "shipped") -> Clustering:
    """Cluster a data set from all of its evidence in one call of `resolve`."""
    edges: Edges = {}
    records = read_records(name)
    for person in records:
        add_event_edges(edges, identify_event(person, keys), SECRET)
    resolution = resolve(Evidence(edges), RULES[limits])
    return Clustering(
        {person.id: resolution.labels.get(session_node(person), session_node(person)) for person in records},
        max(Counter(resolution.labels.values()).values()),
        Counter(dead.reason for dead in resolution.dead_edges.values()),
    )


async def cluster_by_stream(
    name: str, keys: Keys, seed: int, limits: Limits = "shipped", crash_rate: float = 0.0
) -> dict[str, str]:
    """record id → profile id after the agents' steps, the records shuffled and a fifth of them sent twice."""
    rng, records = random.Random(seed), read_records(name)
    events = [identify_event(person, keys) for person in records]
    events += rng.sample(events, len(events) // 5)
    rng.shuffle(events)
    pipeline = Pipeline(rng, crash_rate=crash_rate)
    pipeline.steps["links"] = LinkStep(pipeline.settings, pipeline.store, lambda: RULES[limits])
    pipeline.clock.advance(400_000_000)
    for event in events:
        pipeline.feed(event)
    await pipeline.drain()
    labels = await pipeline.store.labels([session_node(person) for person in records])
    return {person.id: labels[session_node(person)].profile_id for person in records}


def same_grouping(first: dict[str, str], second: dict[str, str]) -> bool:
    """Return whether two groupings put the same records together, whatever the groups are called."""
    return len(set(first.values())) == len(set(second.values())) == len({(first[name], second[name]) for name in first})


ACCURACY: Final[Sequence[tuple[str, Keys, Limits]]] = (
    ("number", ssn, "shipped"),
    ("number or four composite keys", ssn_and_composites, "many numbers"),
)


def accuracy_table() -> str:
    """Return a Markdown table with precision and recall of two rules on each data set."""
    lines = ["| Data | Rule | Precision | Recall | F1 | Largest cluster | Profiles | People |", "|---|---|---|---|---|---|---|---|"]
    for name in FILES:
        for title, keys, limits in ACCURACY:
            pairwise = score(read_records(name), cluster_at_once(name, keys, limits).groups)
            lines.append(f"| {name} | {title} | {_figures(pairwise)} | {pairwise.clusters:,} | {pairwise.people:,} |")
    return "\n".join(lines) + "\n"


OVERMERGE: Final[Sequence[tuple[str, Limits]]] = (
    ("date_of_birth", "none"),
    ("date_of_birth", "shipped"),
    ("surname", "none"),
    ("surname", "only `max_members`"),
    ("surname", "only `max_neighbours`"),
    ("surname", "shipped"),
)


@cache
def shared_field_rule(field: str) -> Keys:
    """Return the rule with a shared field; equal fields give the same object, so that clusterings are cached by it."""
    return ssn_and(field)


def overmerge_table() -> str:
    """Return a Markdown table of what a value that many people share does to FEBRL 4, with and without limits."""
    lines = [
        "| Shared | Limits | Precision | Recall | F1 | Largest cluster | Its identifiers | Links that joined nothing |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for field, limits in OVERMERGE:
        clustering = cluster_at_once("FEBRL 4", shared_field_rule(field), limits)
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(clustering.dead.items())) or "none"
        figures = _figures(score(read_records("FEBRL 4"), clustering.groups))
        lines.append(f"| {field.replace('_', ' ')} | {limits} | {figures} | {clustering.members:,} | {reasons} |")
    return "\n".join(lines) + "\n"


def _figures(pairwise: PairwiseScore) -> str:
    return f"{pairwise.precision:.3f} | {pairwise.recall:.3f} | {pairwise.f1:.3f} | {pairwise.largest:,}"


def closed_form(records: Sequence[FebrlRecord]) -> float:
    """Return the recall of "the same number": the share of true pairs whose numbers are equal."""
    numbers = Counter((person.truth, person.fields["soc_sec_id"]) for person in records if "soc_sec_id" in person.fields)
    pairs = sum(count * (count - 1) for count in numbers.values())
    return pairs / sum(count * (count - 1) for count in Counter(person.truth for person in records).values())


if __name__ == "__main__":
    sys.stdout.write(f"{accuracy_table()}\n{overmerge_table()}")
