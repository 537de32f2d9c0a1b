"""The figures that the demo shows and judges by, read from ClickHouse and Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from domain.definitions.kinds import Destination
from domain.intake.event_account import EventAccount
from ops.account import measure
from ops.connect import Connection
from schemas.records import LIVE_CAUSES
from warehouse import named_queries

_COUNTS: Final = """
SELECT
    countIf(merged_into = '' AND notEmpty(members)) AS profiles,
    countIf(merged_into != '') AS merges,
    (SELECT mapFromArrays(groupArray(name), groupArray(n)) FROM (SELECT toString(segment) AS name, count() AS n FROM memberships GROUP BY name)),
    (SELECT groupArray((name, done, why, n)) FROM (SELECT toString(segment) AS name, toString(op) AS done, toString(cause) AS why, count() AS n FROM transitions FINAL GROUP BY name, done, why)),
    (SELECT mapFromArrays(groupArray(name), groupArray(n)) FROM (SELECT toString(state) AS name, count() AS n FROM delivery_states GROUP BY name))
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
_AGENT_TOPICS: Final = (
    ("accept", "touchpoints"),
    ("unify", "events"),
    ("link", "links"),
    ("segment", "touched"),
    ("group", "groups"),
)
_CONSUMER_TOPICS: Final = ("events", "links", "identities", "groups", "profiles", "memberships", "deliveries", "quarantine")


SHOWN_CAUSES: Final[Mapping[str, str]] = {"event": "event", "link": "event", "group": "event", "timer": "time"}
"""What is shown for a transition's cause; `merge` for the other causes, which move memberships between profiles."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures at one moment. `transition_counts` counts transitions by (segment, op, cause)."""

    account: EventAccount
    profiles: int = 0
    merges: int = 0
    segments: Mapping[str, int] = field(default_factory=dict)
    transition_counts: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    deliveries: Mapping[str, int] = field(default_factory=dict)

    @property
    def segment_names(self) -> list[str]:
        """The segments that anybody is or was in."""
        return sorted(self.segments.keys() | {name for name, _, _ in self.transition_counts})

    @property
    def transitions(self) -> int:
        """The number of all transitions."""
        return sum(self.transition_counts.values())

    def count_transitions(self, op: str, segment: str = "", why: str = "") -> int:
        """Return how many entered or exited, in `segment` and for the reason `why` (event, time, merge) where these are given."""
        return sum(
            count
            for (name, transition_op, cause), count in self.transition_counts.items()
            if transition_op == op and segment in ("", name) and why in ("", SHOWN_CAUSES.get(cause, "merge"))
        )


async def read_figures(connection: Connection) -> Figures:
    """Read all figures. Raises Transient when a store does not answer."""
    account = await measure(connection.settings, connection.bus, connection.warehouse)
    profiles, merges, segments, transition_counts, deliveries = (await connection.warehouse.query(_COUNTS))[0]
    return Figures(
        account, profiles, merges, segments or {}, {tuple(key): n for *key, n in transition_counts or ()}, deliveries or {}
    )


async def load_due_deliveries(connection: Connection, destination: Destination) -> dict[str, str]:
    """Every message that the destination must have got: idempotency key → what it says.

    Computed by ClickHouse alone from the transitions, the triggers and the causes that are live, not by what activation did.
    """
    triggers = [f"{trigger.segment} {op}" for trigger in destination.spec.triggers for op in trigger.on]
    rows = await connection.warehouse.query(
        _DUE, {"destination": destination.metadata.name, "triggers": triggers, "causes": sorted(LIVE_CAUSES)}
    )
    return dict(rows)


async def count_unread(connection: Connection) -> int:
    """How many records lie between Kafka's ends and what the agents and the consumers have done."""
    unread = 0
    for role, topic in _AGENT_TOPICS:
        unread += await _count_unread_of(
            connection, topic, await connection.bus.committed(connection.settings.group(role), connection.settings.topic(topic))
        )
    for topic in _CONSUMER_TOPICS:
        unread += await _count_unread_of(
            connection,
            topic,
            dict(await named_queries.fetch_rows(connection.warehouse, "positions", topic=connection.settings.topic(topic))),
        )
    return unread


async def _count_unread_of(connection: Connection, topic: str, processed: Mapping[int, int]) -> int:
    name = connection.settings.topic(topic)
    starts, ends = await connection.bus.start_offsets(name), await connection.bus.end_offsets(name)
    return sum(max(end - max(processed.get(number, 0), starts.get(number, 0)), 0) for number, end in ends.items())
