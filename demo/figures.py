"""What the demo shows and judges by, asked of ClickHouse and Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from activation.policy import LIVE_CAUSES
from ops.account import Account, take
from ops.connect import Reached
from warehouse import named_queries as reads
from domain.definitions.kinds import Destination

_COUNTS: Final = """
SELECT
    countIf(merged_into = '' AND notEmpty(members)) AS profiles,
    countIf(merged_into != '') AS merges,
    (SELECT mapFromArrays(groupArray(name), groupArray(n)) FROM (SELECT toString(segment) AS name, count() AS n FROM memberships GROUP BY name)),
    (SELECT groupArray((name, done, why, n)) FROM (SELECT toString(segment) AS name, toString(op) AS done, toString(cause) AS why, count() AS n FROM transitions FINAL GROUP BY name, done, why)),
    (SELECT mapFromArrays(groupArray(name), groupArray(n)) FROM (SELECT toString(state) AS name, uniqExact(key) AS n FROM deliveries GROUP BY name))
FROM profile_store FINAL
"""  # noqa: E501 - SQL
_DUE: Final = """
SELECT
    lower(hex(SHA256(arrayStringConcat(
        [{destination:String}, profile_id, toString(segment), toString(segment_version), toString(seq), toString(op)],
        '|')))) AS key,
    concat(toString(segment), ' ', toString(op)) AS what
FROM transitions FINAL
WHERE has({causes:Array(String)}, toString(cause)) AND has({triggers:Array(String)}, what)
"""
_FOLLOWED: Final = (("accept", "touchpoints"), ("unify", "events"), ("link", "links"), ("segment", "touched"), ("group", "groups"))
_WRITTEN: Final = ("events", "links", "identities", "groups", "profiles", "memberships", "deliveries", "quarantine")


CAUSES: Final[Mapping[str, str]] = {"event": "event", "link": "event", "group": "event", "timer": "time"}
"""What is shown for a transition's cause; `merge` for the others, which relabel what was said before."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One look. `moves` counts transitions by (segment, op, cause)."""

    account: Account
    profiles: int = 0
    merges: int = 0
    segments: Mapping[str, int] = field(default_factory=dict)
    moves: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    deliveries: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The segments that anybody is or was in."""
        return sorted(self.segments.keys() | {name for name, _, _ in self.moves})

    @property
    def transitions(self) -> int:
        """All of them."""
        return sum(self.moves.values())

    def moved(self, op: str, segment: str = "", why: str = "") -> int:
        """How many entered, or exited: this segment, for this reason (event, time, merge), if they are given."""
        return sum(
            count
            for (name, done, cause), count in self.moves.items()
            if done == op and segment in ("", name) and why in ("", CAUSES.get(cause, "merge"))
        )


async def look(here: Reached) -> Figures:
    """The figures now. Raises Transient when a store does not answer."""
    account = await take(here.settings, here.bus, here.warehouse)
    profiles, merges, segments, moves, deliveries = (await here.warehouse.rows(_COUNTS))[0]
    return Figures(account, profiles, merges, segments or {}, {tuple(key): n for *key, n in moves or ()}, deliveries or {})


async def due(here: Reached, destination: Destination) -> dict[str, str]:
    """Every message that the destination must have got: idempotency key → what it says.

    Computed by ClickHouse alone from the transitions, the triggers and the causes that are live, not by what activation did.
    """
    triggers = [f"{trigger.segment} {op}" for trigger in destination.spec.triggers for op in trigger.on]
    rows = await here.warehouse.rows(
        _DUE, {"destination": destination.metadata.name, "triggers": triggers, "causes": sorted(LIVE_CAUSES)}
    )
    return dict(rows)


async def behind(here: Reached) -> int:
    """How many records lie between Kafka's ends and what the agents and the consumers have done."""
    left = 0
    for role, topic in _FOLLOWED:
        left += await _unread(here, topic, await here.bus.committed(here.settings.group(role), here.settings.topic(topic)))
    for topic in _WRITTEN:
        left += await _unread(here, topic, dict(await reads.ask(here.warehouse, "positions", topic=here.settings.topic(topic))))
    return left


async def _unread(here: Reached, topic: str, done: Mapping[int, int]) -> int:
    name = here.settings.topic(topic)
    starts, ends = await here.bus.start_offsets(name), await here.bus.end_offsets(name)
    return sum(max(end - max(done.get(number, 0), starts.get(number, 0)), 0) for number, end in ends.items())
