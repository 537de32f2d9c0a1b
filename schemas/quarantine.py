"""Build the records of `quarantine`, in one form for every stage."""

import base64
from typing import Final

from schemas.records import QuarantineRecord

STAGES: Final = ("collector", "accept", "unify", "link", "segment", "group", "consumers", "activation")
"""Every process or agent that puts records into quarantine."""
NO_POSITION: Final = ("", -1, -1)
"""The position of something that came by HTTP and never was a record on a topic."""


def build_quarantine_record(
    stage: str,
    position: tuple[str, int, int],
    value: bytes | None,
    reason: str,
    detail: str,
    *,
    at_ms: int,
    counted: bool,
    suffix: str = "",
    id_prefix: str = "",
    record_id: str = "",
    source: str = "",
) -> QuarantineRecord:
    """Return the quarantine record of a record that was refused. Its bytes, `value`, are stored whole.

    `position` is (topic, partition, offset). Stage and position make the id, so a replay that refuses the record again writes the
    same id and is counted once. `id_prefix` replaces the stage in the id, `suffix` tells the lines of one record apart. Something
    that never was on a topic has NO_POSITION, a `record_id` of its own, and names its `source`.
    """
    topic, partition, offset = position
    return QuarantineRecord(
        id=record_id or f"{id_prefix or stage}-{topic}-{partition}-{offset}{suffix}",
        stage=stage,
        reason=reason,
        detail=detail,
        source=source,
        topic=topic,
        partition=partition,
        offset=offset,
        raw=base64.b64encode(value or b"").decode(),
        at_ms=at_ms,
        counted=counted,
    )
