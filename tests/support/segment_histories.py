"""Random histories for segments: late and duplicated events of several people whose identifiers merge and split."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.segments.registers import CONSENT_EVENT
from schemas.events import Event, EventType
from schemas.identifiers import node
from tests.support.events import SECRET, event
from tests.support.random_values import (
    ACCOUNTS,
    CHANNELS,
    DAY_MS,
    HOUR_MS,
    PROPERTIES,
    PURPOSES,
    SPAN_DAYS,
    STEP_MS,
    TRAITS,
    random_event_name,
    random_value,
)


@dataclass(frozen=True)
class Arrival:
    """An event, or the labels that hold from then on (node → profile id)."""

    at_ms: int
    event: Event | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True)
class RandomSegmentHistory:
    """The arrivals of one group of people, in order. `nodes` are all their identifiers."""

    seed: str
    arrivals: Sequence[Arrival]
    nodes: Sequence[str]

    @property
    def events(self) -> list[Event]:
        """Return each event once."""
        return list({arrival.event.id: arrival.event for arrival in self.arrivals if arrival.event is not None}.values())


def random_history(rng: random.Random, name: str, base_ms: int, most: int = 30) -> RandomSegmentHistory:
    """Return a random history; `name` distinguishes its people from those of other histories."""
    pairs = [
        (namespace, f"{namespace}-{name}-{number}")
        for number in range(rng.randint(1, 3))
        for namespace in ("user_id", "anonymous_id", "email")
    ]
    pairs = [(namespace, f"{value}@thu.vn" if namespace == "email" else value) for namespace, value in pairs]
    busy = rng.sample(pairs, rng.randint(1, 3))
    arrivals: list[Arrival] = []
    busy_instants = [base_ms + rng.randrange(SPAN_DAYS * DAY_MS // STEP_MS) * STEP_MS for _ in range(3)]
    for number in range(rng.randint(1, most)):
        busy_pair = rng.choice(busy)
        identifiers = dict([busy_pair, *([rng.choice(pairs)] if rng.random() < 0.2 else ())])
        new_event = random_event(rng, identifiers, f"{name}-m{number}", random_time(rng, busy_instants, base_ms), base_ms)
        delay = rng.choice((0, 0, 0, 0, rng.randrange(HOUR_MS), rng.randrange(2 * DAY_MS), rng.randrange(3) * DAY_MS))
        arrivals += [Arrival(new_event.time_ms + delay, new_event)]
        if rng.random() < 0.15:
            arrivals.append(Arrival(new_event.time_ms + delay + rng.randrange(DAY_MS), new_event))
    nodes = sorted(node(SECRET, pair) for pair in pairs)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        arrivals.append(Arrival(base_ms + rng.randrange((SPAN_DAYS + 2) * DAY_MS), labels=random_labels(rng, nodes)))
    arrivals.sort(key=lambda arrival: (arrival.at_ms, rng.random()))
    return RandomSegmentHistory(name, arrivals, nodes)


def random_time(rng: random.Random, busy_instants: Sequence[int], base_ms: int) -> int:
    """Return often one of a few busy instants or a time near it, and otherwise any time."""
    if rng.random() < 0.65:
        return rng.choice(busy_instants) + rng.choice((0, 0, 0, 0, 1, -1, HOUR_MS, 6 * HOUR_MS, DAY_MS, 3 * DAY_MS))
    return base_ms + rng.choice((rng.randrange(SPAN_DAYS * DAY_MS), rng.randrange(SPAN_DAYS * DAY_MS // STEP_MS) * STEP_MS))


def random_labels(rng: random.Random, nodes: Sequence[str]) -> dict[str, str]:
    """Divide the nodes into random groups and label each node with the smallest node of its group."""
    groups = rng.randint(1, len(nodes))
    group_of = {member: rng.randrange(groups) for member in nodes}
    return {one: min(other for other in nodes if group_of[other] == group_of[one]) for one in nodes}


def random_event(rng: random.Random, identifiers: Mapping[str, str], identifier: str, time_ms: int, base_ms: int) -> Event:
    label = rng.choice(
        (random_event_name(rng), random_event_name(rng), random_event_name(rng), "$identify", "$identify", CONSENT_EVENT)
    )
    kind: EventType = "track" if label[0] != "$" else label[1:]  # type: ignore[assignment]  # one of the names
    return event(
        identifiers,
        id=identifier,
        type=kind,
        name=label if kind == "track" else "",
        time_ms=time_ms,
        properties=random_properties(rng, kind, base_ms),
        traits=random_traits(rng, kind, base_ms),
        context=random_context(rng, label),
        flags=("bot",) if rng.random() < 0.08 else (),
        trusted=rng.random() < 0.6,
    )


def random_properties(rng: random.Random, kind: str, base_ms: int) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for field in PROPERTIES:
        if rng.random() < 0.55:
            put(rng, properties, field, random_value(rng, field, base_ms))
    return properties | ({"groupId": rng.choice(ACCOUNTS)} if kind == "group" else {})


def random_traits(rng: random.Random, kind: str, base_ms: int) -> dict[str, Any]:
    if kind == "group":
        return {"plan": rng.choice((*ACCOUNTS, None))} if rng.random() < 0.7 else {}
    traits: dict[str, Any] = {}
    for field in TRAITS if kind == "identify" else ():
        if rng.random() < 0.5:
            put(rng, traits, field, random_value(rng, field, base_ms))
    return traits


def put(rng: random.Random, into: dict[str, Any], path: str, value: Any) -> None:
    """Put the value at a dotted path: as a key of that name, nested, or sometimes both."""
    outer, _, inner = path.partition(".")
    if not inner or rng.random() < 0.3:
        into[path] = value
    if inner and rng.random() < 0.8:
        into[outer] = {inner: value} if rng.random() < 0.9 else value


def random_context(rng: random.Random, label: str) -> dict[str, Any]:
    if label == CONSENT_EVENT:
        preferences = {purpose: rng.choice((True, False, False, None, "yes")) for purpose in PURPOSES if rng.random() < 0.6}
        return rng.choice(({"consent": {"categoryPreferences": preferences}},) * 8 + ({}, {"consent": []}, {"consent": {"x": 1}}))
    if label == "$identify" and rng.random() < 0.6:
        subscriptions = [
            {
                "key": "k",
                "type": rng.choice((channel, channel.upper(), channel.lower())),
                "status": rng.choice(("SUBSCRIBED", "SUBSCRIBED", "UNSUBSCRIBED", "DID_NOT_SUBSCRIBE", "MAYBE", None)),
            }
            for channel in rng.choices(CHANNELS, k=rng.randint(0, 3))
        ]
        return {
            "messaging_subscriptions": rng.choice(
                (subscriptions, subscriptions, subscriptions, [*subscriptions, None, {"type": 5}], "all")
            )
        }
    return {}
