"""Arbitrary records on `definitions`: no reader raises, every view can be asked for, and compaction changes nothing."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import orjson
from pydantic import SecretStr

from domain.definitions.kinds import AnyDefinition, encode_definition, load_yaml
from domain.definitions.live import LiveDefinitions, UnreadableRules
from ops import definitions_topic
from ops.prepare import create_topics
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Outgoing
from runtime.clock import ManualClock
from runtime.settings import Settings
from tests.fuzz import values
from tests.fuzz.http import broken
from tests.support.events import SECRET
from tests.support.random_definitions import random_definitions

ROUND: Final = 200
"""So many records lie on one topic; at its end the views are asked for."""
PREFIXES: Final = (("",), ("Destination/",), ("Source/", "TrackingPlan/", "IdentityRules/"))
"""What the processes follow: all kinds, those of the activation, those of the collector."""
_OTHERS: Final = """
apiVersion: onefold/v1
kind: Source
metadata: {name: default}
spec: {topic_ingress: true, cors_origins: ["https://shop.vn"], rate_limit: {events_per_second: 5, burst_events: 9}}
---
apiVersion: onefold/v1
kind: Destination
metadata: {name: hook}
spec: {type: webhook, url: "https://example.com/", secret_env: S, triggers: [{segment: s000}]}
---
apiVersion: onefold/v1
kind: IdentityRules
metadata: {name: default}
spec: {max_members: 9, namespaces: {loyalty_card: {rank: 1, blocked_patterns: ["^0+$"], blocked: ["000"]}}}
---
apiVersion: onefold/v1
kind: TrackingPlan
metadata: {name: default}
spec: {mode: block}
"""
BASE_MS: Final = 1_750_000_000_000
Record = tuple[bytes, bytes | None]


@cache
def _definitions(seed: int) -> Sequence[AnyDefinition]:
    rng = random.Random(seed)
    nodes = [f"{number:032x}" for number in range(9)]
    return [*random_definitions(rng, BASE_MS, nodes, 12, groups=True), *load_yaml(_OTHERS, "others")]


def record(rng: random.Random) -> Record:
    """Return key and value of a record: of a definition, with a few fields changed, or any bytes."""
    definition = rng.choice(_definitions(rng.randrange(8)))
    return _key(rng, definition.key), _value(rng, encode_definition(definition))


def _key(rng: random.Random, key: str) -> bytes:
    kind = rng.random()
    if kind < 0.85:
        return key.encode()
    if kind < 0.9:
        return rng.choice((b"\xff\xfe", b"Segment/\xed\xa0\x80", b"\x00", b"Segment/", b"/", b"Nonsense/a", "Segment/Ánh".encode()))
    if kind < 0.95:
        return rng.choice((b"k", b"Segment/a", b"lan@", b"0901 234 567 ", b"\xc3")) * rng.choice((1, 60, 60_000))
    return rng.randbytes(rng.randint(1, 200))


def _value(rng: random.Random, value: bytes) -> bytes | None:
    kind = rng.random()
    if kind < 0.05:
        return None
    if kind < 0.4:
        return value
    if kind < 0.5:
        return values.broken(rng, value)
    if kind < 0.65:
        return values.written(rng, values.reworded(rng, orjson.loads(value)))
    changed = values.mutated(rng, orjson.loads(value))
    if isinstance(changed, dict) and kind > 0.9:
        changed["apiVersion"] = rng.choice(("onefold/v2", 2, None))
    return values.written(rng, changed)


VIEWS: Final[Sequence[tuple[str, Callable[[LiveDefinitions], object]]]] = (
    ("plan", lambda live: live.plan),
    ("admission", lambda live: live.admission),
    ("namespaces", lambda live: live.namespaces),
    ("sources", lambda live: live.sources),
    ("definitions", lambda live: live.in_force()),
)


def _ask(live: LiveDefinitions, records: Sequence[Record]) -> None:
    for name, view in VIEWS:
        try:
            view(live)
        except Exception as error:
            raise broken(f"the view {name} raises {error!r}", records[-20:]) from error
    try:
        _ = live.rules
    except UnreadableRules:
        pass
    except Exception as error:
        raise broken(f"the rules raise {error!r}", records[-20:]) from error
    for bad in live.bad_records:
        if not (bad.key.isprintable() and len(bad.key) < 120 and bad.reason.isprintable() and len(bad.reason) < 500):
            raise broken("a record is not named in short", bad)


def _fold(records: Sequence[tuple[int, Record]], prefixes: tuple[str, ...]) -> LiveDefinitions:
    live = LiveDefinitions(prefixes=prefixes, secret=SECRET, country="VN")
    for offset, (key, value) in records:
        try:
            live.apply(key, value, offset)
        except Exception as error:
            raise broken(f"a follower of {prefixes} raises {error!r}", (key, value)) from error
    return live


async def _check_commands(records: Sequence[Record]) -> None:
    """Check that a command reads the topic as the processes do, and can remove all that cannot be read."""
    settings, bus = Settings(tenant_secret=SecretStr(SECRET.decode())), MemoryBus(ManualClock())
    await create_topics(settings, bus)
    producer = await bus.producer()
    await producer.send([Outgoing(settings.topic("definitions"), value, key) for key, value in records])
    before = await definitions_topic.read_topic(settings, bus)
    await definitions_topic.remove_bad(settings, bus, [bad.offset for bad in before.bad], ())
    after = await definitions_topic.read_topic(settings, bus)
    if after.bad or after.live != before.live:
        raise broken("what cannot be read was not removed, or more was", records[-20:])


async def fuzz(seed: int, inputs: int) -> Counter[str]:
    """Write `inputs` records; raises InvariantBroken. Returns how many are in force, and how many cannot be read."""
    seen: Counter[str] = Counter()
    rng = random.Random(seed)
    for start in range(0, inputs, ROUND):
        records = [record(rng) for _ in range(min(ROUND, inputs - start))]
        numbered = list(enumerate(records))
        compacted = sorted({key: (offset, (key, value)) for offset, (key, value) in numbered}.values())
        for prefixes in PREFIXES:
            live = _fold(numbered, prefixes)
            _ask(live, records)
            if _fold(compacted, prefixes).in_force() != live.in_force():
                raise broken(f"compaction changes what followers of {prefixes} work by", records[-20:])
        await _check_commands(records)
        live = _fold(numbered, PREFIXES[0])
        seen += Counter({"in force": len(live.in_force()), "cannot be read": len(live.bad_records), "records": len(records)})
    return seen
