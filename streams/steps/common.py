"""What all steps share: reading definitions, decoding a slice, quarantining what does not decode, and addressing records."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules
from domain.segments.plan import SegmentPlan
from profile_store.port import Checkpoint, ProfileStore
from runtime.bus.port import Outgoing, Record
from runtime.settings import Settings
from schemas.codec import Undecodable, decode, encode
from schemas.quarantine import build_quarantine_record
from schemas.records import GroupRecord, Touched

T = TypeVar("T", bound=msgspec.Struct)
UP_TO_DATE: Final = 1 << 62
"""A definitions offset beyond every real one. A step that never has to wait for definitions uses it, as tests do."""


class DefinedStep:
    """A step over the profile store whose decisions follow the definitions. Each slice reads them anew, since they change."""

    def __init__(
        self,
        settings: Settings,
        store: ProfileStore,
        plan: Callable[[], SegmentPlan],
        rules: Callable[[], CompiledIdentityRules] = lambda: DEFAULT_RULES,
        definitions_offset: Callable[[], int] = lambda: UP_TO_DATE,
    ) -> None:
        """Keep what every slice needs. `definitions_offset` returns the offset before which all definitions are in `plan`."""
        self._settings = settings
        self._store = store
        self._plan = plan
        self._rules = rules
        self._definitions_offset = definitions_offset


def must_wait(checkpoint: Checkpoint, definitions_offset: int) -> bool:
    """Tell whether the step must not decide now.

    That is so while the writers are paused, and while the stored state was made under definitions that this worker has not read:
    it has those before `definitions_offset`, and the checkpoint names the offset that the state needs.
    """
    return checkpoint.paused or checkpoint.definitions_offset > definitions_offset


def decode_slice(
    kind: type[T], records: Sequence[Record], stage: str, settings: Settings, now_ms: int
) -> tuple[list[tuple[Record, T]], list[Outgoing]]:
    """Return each record that decodes as `kind` with its value, and a quarantine record for each one that does not decode."""
    decoded: list[tuple[Record, T]] = []
    quarantine_records: list[Outgoing] = []
    for record in records:
        try:
            decoded.append((record, decode(kind, record.value)))
        except Undecodable as error:
            quarantine_records.append(to_quarantine(record, stage, error, settings, now_ms))
    return decoded, quarantine_records


def to_quarantine(record: Record, stage: str, error: Undecodable, settings: Settings, now_ms: int) -> Outgoing:
    """Return the quarantine record of a record that does not decode. Its id is the same however often it is emitted."""
    coordinates = (record.topic, record.partition, record.offset)
    counted = record.topic == settings.topic("events")
    quarantine_record = build_quarantine_record(
        stage, coordinates, record.value, error.reason, error.detail, at_ms=now_ms, counted=counted
    )
    return Outgoing(settings.topic("quarantine"), encode(quarantine_record))


def touch_record(settings: Settings, touched: Touched) -> Outgoing:
    """Return a record of `touched`, keyed by its profile, so that all touches of a profile are in one partition."""
    return Outgoing(settings.topic("touched"), encode(touched), key=touched.profile_id.encode())


def contribution_record(settings: Settings, grouped: GroupRecord) -> Outgoing:
    """Return a record of `groups`, keyed by its group, so that all records of a group are in one partition."""
    return Outgoing(settings.topic("groups"), encode(grouped), key=grouped.group_id.encode())
