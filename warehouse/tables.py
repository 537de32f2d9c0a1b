"""The tables that receive inserts: columns and types, the key by which rows replace each other, and which row wins. Pure."""

from dataclasses import dataclass
from typing import Final

_STRING: Final = "String"
_LOW_CARDINALITY: Final = "LowCardinality(String)"
_DATETIME: Final = "DateTime64(3, 'UTC')"
_PAIRS: Final = "Array(Tuple(namespace String, value String))"
_REGISTER: Final = "Tuple(UInt8, Int64, String, String)"
_VIOLATIONS: Final = "Array(Tuple(path String, rule String, kind String))"
_OP: Final = "Enum8('entered' = 1, 'exited' = 2)"


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its ClickHouse type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows replace each other when their `key` is equal.

    The row with the largest `version` wins, or with `first_wins` the one with the smallest; without a version the latest insert
    wins. In a table with `min_columns`, which are all columns but the key, each column keeps its smallest value.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    version: str | None = None
    first_wins: bool = False
    min_columns: tuple[str, ...] = ()

    def column_index(self, column: str) -> int:
        """Return the index of a column in a row."""
        return next(position for position, candidate in enumerate(self.columns) if candidate.name == column)


def _columns(**types: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name, kind in types.items())


EVENT_STORE: Final = Table(
    "event_store",
    _columns(
        owner=_STRING,
        id=_STRING,
        type=_LOW_CARDINALITY,
        name=_LOW_CARDINALITY,
        source=_LOW_CARDINALITY,
        time=_DATETIME,
        received=_DATETIME,
        nodes="Array(String)",
        identifiers=_PAIRS,
        properties=_STRING,
        traits=_STRING,
        context=_STRING,
        flags=f"Array({_LOW_CARDINALITY})",
        violations=_VIOLATIONS,
        observed=_VIOLATIONS,
        trusted="Bool",
        partition="UInt32",
        offset="UInt64",
    ),
    key=("owner", "id"),
    version="offset",
    first_wins=True,
)
LEDGER: Final = Table(
    "ledger",
    _columns(
        partition="UInt32",
        offset="UInt64",
        owner=_STRING,
        id_hash=_STRING,
        outcome="Enum8('stored' = 1, 'suppressed' = 2, 'quarantined' = 3)",
        reason=_LOW_CARDINALITY,
        source=_LOW_CARDINALITY,
        event=_LOW_CARDINALITY,
        received=_DATETIME,
    ),
    key=("partition", "offset"),
)
POSITIONS: Final = Table(
    "positions",
    _columns(topic=_LOW_CARDINALITY, partition="UInt32", next_offset="UInt64"),
    key=("topic", "partition"),
    version="next_offset",
)
LABELS: Final = Table("labels", _columns(node=_STRING, profile_id=_STRING, version="UInt64"), key=("node",), version="version")
EVIDENCE: Final = Table(
    "pair_evidence",
    _columns(
        a=_STRING,
        b=_STRING,
        first="Tuple(UInt8, Int64, String, String, String, String, String)",
        last="Tuple(UInt8, Int64, Int64, String)",
    ),
    key=("a", "b"),
    min_columns=("first", "last"),
)
DECISIONS: Final = Table(
    "decision_store",
    _columns(
        operation=_STRING,
        action=_LOW_CARDINALITY,
        kind=_LOW_CARDINALITY,
        a=_STRING,
        b=_STRING,
        on="Bool",
        at_ms="Int64",
        of=_STRING,
        by=_STRING,
        reason=_STRING,
    ),
    key=("operation", "kind", "a", "b", "at_ms", "on"),
)
IDENTITIES: Final = Table(
    "identity_store",
    _columns(
        profile_id=_STRING,
        version="UInt64",
        members="Array(String)",
        merged_into=_STRING,
        split_from=_STRING,
        cause=_STRING,
        at=_DATETIME,
    ),
    key=("profile_id", "version"),
)
PROFILES: Final = Table(
    "profile_store",
    _columns(
        profile_id=_STRING,
        members="Array(String)",
        label_version="UInt64",
        merged_into=_STRING,
        split_from=_STRING,
        identifiers=_PAIRS,
        traits=_STRING,
        computed=_STRING,
        counters="Map(String, UInt64)",
        first_seen=_DATETIME,
        last_seen=_DATETIME,
        segments=f"Array({_LOW_CARDINALITY})",
        updated=_DATETIME,
        version="UInt64",
    ),
    key=("profile_id",),
    version="version",
)
TRANSITIONS: Final = Table(
    "transitions",
    _columns(
        profile_id=_STRING,
        segment=_LOW_CARDINALITY,
        seq="UInt64",
        segment_version=_LOW_CARDINALITY,
        op=_OP,
        at=_DATETIME,
        evaluated_at=_DATETIME,
        cause=_LOW_CARDINALITY,
        event_id=_STRING,
        partition="Int32",
        offset="Int64",
    ),
    key=("profile_id", "segment", "seq"),
)
ACCOUNT_TRAITS: Final = Table(
    "account_trait_registers",
    _columns(group_id=_STRING, name=_STRING, trait=_STRING, register=_REGISTER),
    key=("group_id", "name", "trait", "register"),
)
CONTRIBUTIONS: Final = Table(
    "contribution_store",
    _columns(
        group_id=_STRING,
        profile_id=_STRING,
        kind="Enum8('account' = 1, 'household' = 2)",
        name=_STRING,
        present="Bool",
        seq="UInt64",
        rank="UInt32",
        most="UInt32",
        registers=f"Map(String, {_REGISTER})",
        counters="Map(String, UInt64)",
        at=_DATETIME,
    ),
    key=("group_id", "profile_id"),
    version="seq",
)
DELIVERIES: Final = Table(
    "deliveries",
    _columns(
        key=_STRING,
        state="Enum8('delivered' = 1, 'failed' = 2, 'skipped' = 3, 'waiting' = 4)",
        attempts="UInt32",
        destination=_LOW_CARDINALITY,
        profile_id=_STRING,
        segment=_LOW_CARDINALITY,
        op=_OP,
        seq="UInt64",
        verdict=_LOW_CARDINALITY,
        status="UInt16",
        detail=_STRING,
        transition=_DATETIME,
        at=_DATETIME,
        next=_DATETIME,
    ),
    key=("key", "state", "attempts"),
)
QUARANTINE: Final = Table(
    "quarantine",
    _columns(
        id=_STRING,
        stage=_LOW_CARDINALITY,
        reason=_LOW_CARDINALITY,
        detail=_STRING,
        source=_LOW_CARDINALITY,
        topic=_LOW_CARDINALITY,
        partition="Int32",
        offset="Int64",
        raw=_STRING,
        at=_DATETIME,
        counted="Bool",
    ),
    key=("id",),
)

SETTLEMENTS: Final = Table(
    "settlements",
    _columns(id=_STRING, action="Enum8('replayed' = 1, 'discarded' = 2)", by=_STRING, because=_STRING, at=_DATETIME),
    key=("id", "at", "action"),
)

ADOPTED_LOGS: Final = Table(
    "adopted_logs",
    _columns(epoch="UInt32", cluster_id=_STRING, topic_ids="Map(String, String)", secret_fingerprint=_STRING),
    key=("epoch",),
)
DEFINITIONS: Final = Table(
    "definition_store",
    _columns(key=_STRING, value=_STRING, removed="Bool", offset="UInt64", written=_DATETIME),
    key=("key",),
    version="offset",
)

TABLES: Final = (
    EVENT_STORE,
    LEDGER,
    POSITIONS,
    LABELS,
    EVIDENCE,
    DECISIONS,
    IDENTITIES,
    PROFILES,
    TRANSITIONS,
    ACCOUNT_TRAITS,
    CONTRIBUTIONS,
    DELIVERIES,
    QUARANTINE,
    SETTLEMENTS,
    ADOPTED_LOGS,
    DEFINITIONS,
)
