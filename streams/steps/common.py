"""What all steps need: decoding a slice, quarantining what does not decode, and addressing records."""

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from profile_store.port import Standing
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import Undecodable, decode, encode
from schemas.quarantine import quarantined as of_record
from schemas.records import Grouped, Touched

T = TypeVar("T", bound=msgspec.Struct)
ALL: Final = 1 << 62
"""Knows all definitions there can be."""


def must_wait(standing: Standing, known: int) -> bool:
    """Whether writers are held, or the state presumes definitions that this worker, who knows those before `known`, lacks."""
    return standing.held or standing.definitions > known


def decode_slice(
    kind: type[T], records: Sequence[Record], stage: str, settings: Settings, now_ms: int
) -> tuple[list[tuple[Record, T]], list[Outgoing]]:
    """The records that decode, and a quarantine record for each that does not."""
    good: list[tuple[Record, T]] = []
    bad: list[Outgoing] = []
    for record in records:
        try:
            good.append((record, decode(kind, record.value)))
        except Undecodable as error:
            bad.append(quarantine(record, stage, error, settings, now_ms))
    return good, bad


def quarantine(record: Record, stage: str, error: Undecodable, settings: Settings, now_ms: int) -> Outgoing:
    """A record of ours for `quarantine`: the same id however often it is said."""
    place = (record.topic, record.partition, record.offset)
    counted = record.topic == settings.topic("events")
    held = of_record(stage, place, record.value, error.reason, error.detail, at_ms=now_ms, counted=counted)
    return Outgoing(settings.topic("quarantine"), encode(held))


def touch(settings: Settings, touched: Touched) -> Outgoing:
    """A `touched` record, keyed by its profile."""
    return Outgoing(settings.topic("touched"), encode(touched), key=touched.profile_id.encode())


def contribution(settings: Settings, grouped: Grouped) -> Outgoing:
    """A `groups` record, keyed by its group."""
    return Outgoing(settings.topic("groups"), encode(grouped), key=grouped.group_id.encode())
