"""How much one event may tell of a customer. Intake refuses what is more, and so does every reader of `events`. Pure.

Both the stream and ClickHouse decode events by these limits, so that none of them ever has an event that the other has not.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from schemas.reasons import Reason

MAX_EVENT_TRAITS: Final = 250
MAX_TRAIT_BYTES: Final = 4096
"""The largest value of a trait, as JSON."""
MAX_EVENT_IDENTIFIERS: Final = 64
MAX_GROUP_ID_CHARS: Final = 1024
LEAST_BYTES: Final = 512
"""An event of fewer bytes is within all limits."""
_JSON_BYTES_PER_CHARACTER: Final = 6
"""The most that a character takes in JSON: a control character becomes `\\u0001`."""
_SHORT_TEXT: Final = MAX_TRAIT_BYTES // _JSON_BYTES_PER_CHARACTER
_ENCODER: Final = msgspec.json.Encoder()


class Excess(NamedTuple):
    """What is too much of: the reason, the field, and the sentence about it, which quotes no value."""

    reason: Reason
    path: str
    detail: str


def find_excess(traits: Mapping[str, Any], identifiers: int) -> Excess | None:
    """Return what an event has too much of, None when it is within the limits. `identifiers` is how many it names."""
    if identifiers > MAX_EVENT_IDENTIFIERS:
        return Excess(Reason.TOO_MANY_PROPERTIES, "identifiers", f"has more than {MAX_EVENT_IDENTIFIERS} identifiers")
    if len(traits) > MAX_EVENT_TRAITS:
        return Excess(Reason.TOO_MANY_PROPERTIES, "traits", f"has more than {MAX_EVENT_TRAITS} names")
    if traits and any(_is_too_large(value) for value in traits.values()):
        return Excess(Reason.TOO_LARGE, "traits", f"has a value of more than {MAX_TRAIT_BYTES} bytes")
    return None


def _is_too_large(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > _SHORT_TEXT and len(_ENCODER.encode(value)) > MAX_TRAIT_BYTES
    return isinstance(value, dict | list) and len(_ENCODER.encode(value)) > MAX_TRAIT_BYTES
