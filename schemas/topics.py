"""The register of topics: name, key, content, partitions and retention. The page `docs/topics.md` is made from it."""

from dataclasses import dataclass
from typing import Final

from schemas.instants import DAY_MS


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `is_single_partition` topics have one partition; `config` is Kafka's topic configuration."""

    name: str
    key: str
    description: str
    written_by: str
    read_by: str
    config: tuple[tuple[str, str], ...]
    is_single_partition: bool = False


def _retention(days: int, segment_minutes: int = 60) -> tuple[tuple[str, str], ...]:
    # Short segments, because Kafka deletes whole segments only: they bound how long after its retention a record still lies there.
    return (("retention.ms", str(days * DAY_MS)), ("segment.ms", str(segment_minutes * 60_000)))


# A record is received when the broker has it. By the producer's clock it could be received in 1970, and be deleted at once, or never.
_BROKER_TIME: Final = (("message.timestamp.type", "LogAppendTime"),)

_COMPACT: Final = (
    ("cleanup.policy", "compact"),
    ("max.compaction.lag.ms", str(DAY_MS)),
    ("min.cleanable.dirty.ratio", "0.2"),
)

TOPICS: Final = (
    Topic("touchpoints", "any", "public ingress for direct Kafka producers: one JSON event, or several as JSON lines or as a JSON list", "call centres, other systems", "accept agent", (*_retention(3), *_BROKER_TIME)),
    Topic("events", "owner identifier's node", "validated, normalised events: the tail of history", "collector, accept agent, onefold quarantine, API (replay)", "unify agent, ClickHouse consumer", (*_retention(7, 15), *_BROKER_TIME)),
    Topic("links", "none", "evidence: identifiers that were seen together and that the worker had not seen together before; people's decisions about two identifiers; requests to compute clusters again", "unify agent, streams process (reclustering), onefold identity, API", "link agent, ClickHouse consumer", _retention(7), is_single_partition=True),
    Topic("identities", "profile id", "which identifiers a profile consists of, whenever that changes: merged into, split from", "link agent", "ClickHouse consumer, anyone", _retention(30)),
    Topic("touched", "profile id", "a request to evaluate a profile again, because it may have changed", "unify, link, segment and group agents, timers, onefold apply, rebuild and segments verify, API (nightly repair)", "segment agent", _retention(1)),
    Topic("profiles", "profile id", "the profile as it is now", "segment agent", "ClickHouse consumer, anyone", _COMPACT),
    Topic("memberships", "profile id", "transitions: a profile entered or left a segment, with sequence number, cause and the event that caused it", "segment agent, onefold apply (backfill)", "activation, ClickHouse consumer", _retention(30)),
    Topic("groups", "group id", "the traits that an event sets on an account; what a profile contributes to its accounts and households", "unify and segment agents, onefold apply", "group agent, ClickHouse consumer", _retention(30)),
    Topic("deliveries", "profile id", "what became of every message to a destination: it was delivered, waits, failed or was skipped, with the verdict", "activation", "ClickHouse consumer", _retention(30)),
    Topic("retries", "idempotency key", "the messages that wait for their next attempt, in the partition of their transition; a record without a value ends one", "activation, onefold deliveries resend, API", "activation", (*_COMPACT[:1], ("max.compaction.lag.ms", str(DAY_MS // 24)), ("min.cleanable.dirty.ratio", "0.1"), ("segment.ms", str(15 * 60_000)))),
    Topic("quarantine", "none", "the raw record, whole, with the reason and its offset", "every stage; onefold quarantine and API (what became of a record)", "ClickHouse consumer, onefold quarantine", _retention(30)),
    Topic("definitions", "kind/name", "sources, identity rules, segments and destinations, versioned", "onefold apply, remove, definitions and adopt", "every process, ClickHouse consumer", _COMPACT, is_single_partition=True),
)  # fmt: skip


def by_name(name: str) -> Topic:
    """Return the topic of that name. Raises KeyError for a name that the register does not have."""
    return next(topic for topic in TOPICS if topic.name == name)
