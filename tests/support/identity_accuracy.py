"""How right Onefold's clusters are on the FEBRL data sets. `python -m tests.support.identity_accuracy` prints the tables of the docs."""

import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from domain.identity import evidence
from domain.identity.clusters import Evidence, resolve
from domain.identity.rules import DEFAULT_RULES, IdentityRulesSpec, Rules
from streams.steps.link import LinkStep
from tests.support.events import SECRET
from tests.support.febrl import FILES, Keys, Person, Score, identify, people, score, session, ssn, ssn_and, ssn_and_composites
from tests.support.simulated_pipeline import Pipeline


def rules(said: object) -> Rules:
    """Compiled rules, of a definition's `spec`."""
    return Rules.of(IdentityRulesSpec.model_validate(said), secret=SECRET, country="AU")


Limits = Literal["shipped", "many numbers", "none", "only `max_neighbours`", "only `max_members`"]
RULES: Final[Mapping[Limits, Rules]] = {
    "shipped": DEFAULT_RULES,
    "many numbers": rules({"namespaces": {"crm_id": {"max_per_profile": "unlimited"}}}),
    "none": Rules(neighbours={}, per_profile={}, max_members=sys.maxsize),
    "only `max_neighbours`": Rules(per_profile={}, max_members=sys.maxsize),
    "only `max_members`": Rules(neighbours={}, per_profile={}),
}
"""With `many numbers` a person may have several social security numbers: those of FEBRL have typing errors."""


@dataclass(frozen=True, slots=True)
class Found:
    """Clusters of records, how many identifiers the largest has, and how many links joined nothing, by reason."""

    groups: dict[str, str]
    members: int
    dead: Counter[str]


@cache
def resolved(name: str, keys: Keys, limits: Limits = "shipped") -> Found:
    """What the function makes of a data set's evidence, all of it at once."""
    edges: evidence.Edges = {}
    records = people(name)
    for person in records:
        evidence.witness(edges, identify(person, keys))
    resolution = resolve(Evidence(edges), RULES[limits])
    return Found(
        {person.id: resolution.labels.get(session(person), session(person)) for person in records},
        max(Counter(resolution.labels.values()).values()),
        Counter(dead.reason for dead in resolution.dead.values()),
    )


async def streamed(name: str, keys: Keys, seed: int, limits: Limits = "shipped", crash_rate: float = 0.0) -> dict[str, str]:
    """record id → profile id after the agents' steps, the records shuffled and a fifth of them sent twice."""
    rng, records = random.Random(seed), people(name)
    events = [identify(person, keys) for person in records]
    events += rng.sample(events, len(events) // 5)
    rng.shuffle(events)
    pipeline = Pipeline(rng, crash_rate=crash_rate)
    pipeline.steps["links"] = LinkStep(pipeline.settings, pipeline.store, lambda: RULES[limits])
    pipeline.clock.advance(400_000_000)
    for event in events:
        pipeline.feed(event)
    await pipeline.drain()
    labels = await pipeline.store.labels([session(person) for person in records])
    return {person.id: labels[session(person)].profile_id for person in records}


def same(left: dict[str, str], right: dict[str, str]) -> bool:
    """Whether two groupings put the same records together, whatever they call the groups."""
    return len(set(left.values())) == len(set(right.values())) == len({(left[name], right[name]) for name in left})


ACCURACY: Final[Sequence[tuple[str, Keys, Limits]]] = (
    ("number", ssn, "shipped"),
    ("number or four composite keys", ssn_and_composites, "many numbers"),
)


def accuracy_table() -> str:
    """Markdown: precision and recall of two rules on each data set."""
    lines = ["| Data | Rule | Precision | Recall | F1 | Largest cluster | Profiles | People |", "|---|---|---|---|---|---|---|---|"]
    for name in FILES:
        for title, keys, limits in ACCURACY:
            found = score(people(name), resolved(name, keys, limits).groups)
            lines.append(f"| {name} | {title} | {_figures(found)} | {found.clusters:,} | {found.people:,} |")
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
def shared(field: str) -> Keys:
    """The rule with a shared field, the same object each time."""
    return ssn_and(field)


def overmerge_table() -> str:
    """Markdown: what a value that many people share does to FEBRL 4, with and without limits."""
    lines = [
        "| Shared | Limits | Precision | Recall | F1 | Largest cluster | Its identifiers | Links that joined nothing |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for field, limits in OVERMERGE:
        found = resolved("FEBRL 4", shared(field), limits)
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.dead.items())) or "none"
        figures = _figures(score(people("FEBRL 4"), found.groups))
        lines.append(f"| {field.replace('_', ' ')} | {limits} | {figures} | {found.members:,} | {why} |")
    return "\n".join(lines) + "\n"


def _figures(found: Score) -> str:
    return f"{found.precision:.3f} | {found.recall:.3f} | {found.f1:.3f} | {found.largest:,}"


def closed_form(records: Sequence[Person]) -> float:
    """The recall of "the same number": true pairs whose numbers are equal, of all true pairs."""
    numbers = Counter((person.truth, person.fields["soc_sec_id"]) for person in records if "soc_sec_id" in person.fields)
    pairs = sum(count * (count - 1) for count in numbers.values())
    return pairs / sum(count * (count - 1) for count in Counter(person.truth for person in records).values())


if __name__ == "__main__":
    sys.stdout.write(f"{accuracy_table()}\n{overmerge_table()}")
