"""How a record of Kafka becomes a record of `quarantine`: one form for every stage."""

import base64

from schemas.records import Quarantined


def quarantined(
    stage: str,
    place: tuple[str, int, int],
    value: bytes | None,
    reason: str,
    detail: str,
    *,
    at_ms: int,
    counted: bool,
    suffix: str = "",
    by: str = "",
) -> Quarantined:
    """`place` is (topic, partition, offset): with the stage (or `by`, who it was there) it makes an id that a replay makes again.

    `suffix` tells the parts of one record apart (a line). `value` is kept whole.
    """
    topic, partition, offset = place
    return Quarantined(
        id=f"{by or stage}-{topic}-{partition}-{offset}{suffix}",
        stage=stage,
        reason=reason,
        detail=detail,
        source="",
        topic=topic,
        partition=partition,
        offset=offset,
        raw=base64.b64encode(value or b"").decode(),
        at_ms=at_ms,
        counted=counted,
    )
