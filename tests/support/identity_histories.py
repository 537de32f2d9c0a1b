"""Random identity histories: events of a few people on shared devices, decisions and rules, and the checks of their outcome."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from domain.definitions.kinds import Segment
from domain.definitions.segment_plan import segment_plan_of
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec, NamespaceRules
from domain.profiles.fragment import Fragment, apply_event, decode_fragment
from domain.profiles.join import join_fragments
from schemas.events import Event, EventType
from schemas.instants import DAY_MS
from schemas.records import DecisionKind, LinkDecision
from tests.support.events import SECRET, START_MS, event
from tests.support.identity_oracle import IdentityOracle
from tests.support.simulated_pipeline import Pipeline

CROWDED_AT = 5
"""How many neighbours make a node crowded in these small worlds (MAX_NEIGHBOURS is set to it)."""
_CITIES = ("Hà Nội", "Đà Nẵng", "Huế")


@dataclass
class RandomIdentityHistory:
    """Events and decisions in the order in which they happen.

    `initial_rules` are the rules at the beginning, `rules` those at the end.
    """

    seed: int
    events: list[Event]
    decisions: list[LinkDecision]
    initial_rules: CompiledIdentityRules
    rules: CompiledIdentityRules
    nodes: list[str] = field(default_factory=list)

    def oracle(self) -> IdentityOracle:
        return IdentityOracle(self.events, self.decisions, self.rules, CROWDED_AT)


def random_rules(rng: random.Random, number: int, *, cards: bool = False) -> CompiledIdentityRules:
    """Return rules with limits so tight that small histories reach them.

    With `cards` most of them declare a namespace of one's own. The others do not, or not any more: its evidence joins nothing.
    """

    def limits(namespace: str) -> NamespaceRules:
        return NamespaceRules(
            max_neighbours=rng.choice([None, 1, 2, 3, "unlimited"]),
            max_per_profile=rng.choice([None, None, 1, 2, "unlimited"]),
            blocked=("cookie-0",) if namespace == "anonymous_id" and rng.random() < 0.2 else (),
            blocked_patterns=(r"^\+8490000000[01]$",) if namespace == "phone" and rng.random() < 0.2 else (),
        )

    namespaces = {
        name: limits(name) for name in ("user_id", "email", "phone", "anonymous_id", "caller_number") if rng.random() < 0.5
    }
    if cards and rng.random() < 0.8:
        namespaces["loyalty_card"] = limits("loyalty_card").model_copy(update={"rank": 1, "owner_order": 3})
    spec = IdentityRulesSpec(
        namespaces=namespaces,
        max_members=rng.choice([3, 5, 1000, 1000]),
        prefer=rng.choice(["last", "last", "first"]),
        same_number=rng.random() < 0.7,
    )
    return CompiledIdentityRules.from_spec(spec, secret=SECRET, country="VN", sequence_number=number)


def random_event(rng: random.Random, number: int, *, cards: bool = False) -> Event:
    person = rng.randrange(4)
    chances = (
        ("user_id", f"user-{person}", 0.5),
        ("email", f"nguoi{rng.randrange(3)}@thu.vn", 0.3),
        ("phone", f"+8490000000{rng.randrange(3)}", 0.3),
        ("anonymous_id", f"cookie-{rng.randrange(4)}", 0.6),
        ("caller_number", f"+8490000000{rng.randrange(3)}", 0.15),
    )
    identifiers = {namespace: value for namespace, value, chance in chances if rng.random() < chance}
    if cards and rng.random() < 0.4:
        identifiers["loyalty_card"] = f"4000{rng.randrange(3)}"
    identify = rng.random() < 0.4
    kind: EventType = "identify" if identify else rng.choice(("track", "track", "alias"))
    # Some aliases name a user id and others an anonymous id; some come from a version that did not keep the earlier id.
    previous_id = rng.choice((f"user-{rng.randrange(4)}", f"cookie-{rng.randrange(4)}", ""))
    return event(
        identifiers or {"anonymous_id": f"cookie-{rng.randrange(4)}"},
        id=f"m{number}",
        name=rng.choice(["Order Completed", "Product Viewed"]),
        type=kind,
        time_ms=START_MS + rng.randrange(3) * DAY_MS + rng.randrange(4) * 1000,
        properties={"previousId": previous_id} if kind == "alias" and previous_id else {},
        traits={"city": rng.choice(_CITIES), "name": f"Nguyễn {number}"} if identify else {},
        trusted=rng.random() < 0.5,
    )


def random_decision(rng: random.Random, number: int, nodes: Sequence[str], earlier: Sequence[LinkDecision]) -> LinkDecision:
    """Return a cut, a split, or the reversal of an earlier decision."""
    at_ms = START_MS + rng.randrange(20)
    if earlier and rng.random() < 0.4:
        undone = rng.choice(earlier)
        return LinkDecision(operation=f"op{number}", action="undo", pairs=undone.pairs, on=rng.random() < 0.3, at_ms=at_ms)
    pairs: set[tuple[DecisionKind, str, str]] = set()
    for _ in range(rng.randint(1, 3)):
        a, b = sorted(rng.sample(list(nodes), 2))
        pairs.add((rng.choice(("cut", "apart")), a, b))
    return LinkDecision(operation=f"op{number}", action="split", pairs=tuple(sorted(pairs)), on=True, at_ms=at_ms)


def random_history(seed: int, *, cards: bool = False) -> RandomIdentityHistory:
    """Return a history; with `cards` also of identifiers of a namespace of one's own."""
    rng = random.Random(seed)
    events = [random_event(rng, number, cards=cards) for number in range(rng.randint(1, 18))]
    nodes = sorted(IdentityOracle(events, [], DEFAULT_RULES, CROWDED_AT).labels())
    decisions: list[LinkDecision] = []
    if len(nodes) > 1 and rng.random() < 0.6:
        for number in range(rng.randint(1, 4)):
            decisions.append(random_decision(rng, number, nodes, decisions))
    rules = random_rules(rng, 2, cards=cards)
    first = random_rules(rng, 1, cards=cards) if rng.random() < 0.4 else replace(rules, sequence_number=1)
    return RandomIdentityHistory(seed, events, decisions, first, rules, nodes)


async def run_history(
    history: RandomIdentityHistory,
    segments: Sequence[Segment] = (),
    pipeline_factory: Callable[..., Pipeline] = Pipeline,
    *,
    zombie_rate: float = 0.1,
) -> Pipeline:
    """Run the history through the real steps, shuffled, partly doubled, in slices and with crashes.

    The rules change once, at a random position. `zombie_rate` is how often a worker saves what another one has overtaken.
    """
    rng = random.Random(history.seed + 1)
    pipeline = pipeline_factory(rng, segments, partitions=rng.randint(1, 4), crash_rate=0.25, rules=history.initial_rules)
    pipeline.clock.advance(10 * DAY_MS)
    inputs: list[Event | LinkDecision] = [*history.events, *history.decisions]
    inputs += rng.choices(inputs, k=rng.randint(0, len(inputs)))
    rng.shuffle(inputs)
    rules_change_at = rng.randint(0, len(inputs))
    for position, item in enumerate(inputs):
        if position == rules_change_at:
            pipeline.rules = history.rules
            await pipeline.relink()
        if isinstance(item, Event):
            pipeline.feed(item)
        else:
            pipeline.feed_decision(item)
        if rng.random() < 0.2:
            await pipeline.drain()
        if rng.random() < zombie_rate and (waiting := pipeline.uncommitted()):
            await pipeline.run_zombie_slice(*rng.choice(waiting))
    pipeline.rules = history.rules
    await pipeline.relink()
    await pipeline.drain()
    return pipeline


async def check_outcome(history: RandomIdentityHistory, pipeline: Pipeline) -> None:
    """Check everything that must hold once the pipeline has come to rest; raises AssertionError."""
    expected = history.oracle().labels()
    labels = {node: label.profile_id for node, label in (await pipeline.store.labels(history.nodes)).items()}
    assert labels == {node: expected[node] for node in history.nodes}, "labels are not those of the set of events"
    members = await pipeline.store.members(history.nodes)
    for node in history.nodes:
        group = tuple(sorted(other for other in history.nodes if labels[other] == node))
        assert members[node].nodes == group, "a member list is not that of the labels"
        assert members[node].merged_into == ("" if labels[node] == node else labels[node]), "a dissolved profile leads astray"
    emitted = pipeline.identities()
    assert {node: emitted.get(node, node) for node in history.nodes} == labels, "the warehouse's labels are not the store's"
    await check_profiles(history, pipeline, labels)


async def check_profiles(history: RandomIdentityHistory, pipeline: Pipeline, labels: Mapping[str, str]) -> None:
    """Check the profiles byte for byte, and that counters neither lose nor gain anything."""
    fragments: dict[str, Fragment] = {}
    plan = segment_plan_of(pipeline.segments)
    for item in sorted(history.events, key=lambda candidate: candidate.id):
        apply_event(fragments.setdefault(item.owner, Fragment()), item, plan)
    stored = await pipeline.store.documents("fragment", history.nodes)
    groups: dict[str, list[str]] = {}
    for node in history.nodes:
        groups.setdefault(labels[node], []).append(node)
    counted: Counter[str] = Counter()
    has_dropped = False
    live = {name: profile for name, profile in pipeline.profiles().items() if profile.members}
    for profile_id, nodes in groups.items():
        owners = [node for node in nodes if node in fragments]
        joined = join_fragments([decode_fragment(stored[node].data) for node in owners], {}, nodes, plan.retained)
        expected = join_fragments([fragments[node] for node in owners], {}, nodes, plan.retained)
        assert _bytes(joined) == _bytes(expected), "a profile's bytes differ"
        counted.update(joined.counters)
        has_dropped |= bool(joined.dropped_names)
        assert (profile_id in live) == bool(owners), "a profile is said without events, or not said with some"
        if owners:
            published = live[profile_id]
            assert published.members == tuple(nodes), "the profile last said is not the one in the store"
            assert published.identifiers == joined.identifiers, "the profile last said is not the one in the store"
            assert published.traits == joined.traits, "the profile last said is not the one in the store"
            assert published.counters == joined.counters, "the profile last said is not the one in the store"
    assert live.keys() <= groups.keys(), "a profile that is no more was never taken back"
    assert has_dropped or counted == Counter(item.label for item in history.events), "an event is counted twice, or lost"


def _bytes(joined: Any) -> bytes:
    return msgspec.json.encode(joined)
