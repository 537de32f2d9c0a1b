"""The membership document of one profile: which segments it is in, and what was last said of it. Pure."""

from typing import Any, Final

import msgspec

from schemas.records import GroupRecord, Transition


class SegmentState(msgspec.Struct, array_like=True, frozen=True):
    """Whether the profile is in a segment, the number of the last transition, and since when."""

    member: bool
    seq: int
    since_ms: int


DISSOLVED_INTO_MANY: Final = "-"
"""`dissolved_into` of a profile that has no events any more: what it had went to several others."""


class Membership(msgspec.Struct):
    """`last` are the transitions of the last change, and those before it that may not have been said: a replay says them again.

    `label_version` is the version of the member list that was last evaluated, `formerly` the segments held under the one before.
    So whoever a person's identifiers belong to next knows that the person is not new to them.

    `groups` are the groups that the profile contributes to, each with a hash of what was last said of it; `group_seq` is the last
    number, and `grouped` are the records of the last change, as `last` are.

    `computed` are the values of the computed traits; `due` says of segments, and of computed traits as `computed.NAME`, when they
    change by themselves; `plan` is the fingerprint of the definitions that all this was evaluated by.
    """

    version: int = 3
    segments: dict[str, SegmentState] = {}
    latest_transitions: tuple[Transition, ...] = ()
    profile_hash: str = ""
    label_version: int = 0
    dissolved_into: str = ""
    previous_segments: tuple[str, ...] = ()
    emitted_group_hashes: dict[str, str] = {}
    group_seq: int = 0
    latest_group_records: tuple[GroupRecord, ...] = ()
    computed: dict[str, Any] = {}
    next_change_ms: dict[str, int] = {}
    plan_fingerprint: str = ""

    def active_segments(self) -> set[str]:
        """The segments that the profile is in; of a dissolved one those that it was in."""
        if self.dissolved_into:
            return set(self.previous_segments)
        return {name for name, state in self.segments.items() if state.member}

    def segments_inherited_by_merge(self, label_version: int) -> set[str]:
        """What a profile that was last evaluated at `label_version` finds of this one that is a part of it now.

        A dissolved one counts once: when it has become a part since then.
        """
        return self.active_segments() if not self.dissolved_into or self.label_version > label_version else set()

    def segments_inherited_by_split(self, label_version: int) -> set[str]:
        """What a profile that is split off at `label_version` finds of this one, evaluated since or not."""
        return set(self.previous_segments) if self.label_version >= label_version else self.active_segments()


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Membership)


def encode_membership(membership: Membership) -> bytes:
    """The document as it is kept: MessagePack, the same bytes for the same state."""
    return _ENCODER.encode(membership)


def decode_membership(data: bytes | None) -> Membership:
    """A document from its bytes; a new one when there are none yet."""
    return Membership() if data is None else _DECODER.decode(data)
