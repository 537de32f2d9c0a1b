"""The membership document of one profile: the segments that it is in, and what the segment agent published about it last. Pure.

Why it remembers previous segments: when profiles merge or split, a person appears under another profile id and seems to enter all
segments again. Destinations must not react to that, since nothing happened to the customer. So the segment agent compares with the
segments that the merged or divided profile was in, and publishes such an entry with the cause `merge` or `split`.

Example: profile b is in `vip`, and b merges into a at label version 7. The document of b becomes dissolved (dissolved_into = a,
label_version = 7, previous_segments = vip). When a is evaluated, its own document has label version 0, and 7 > 0: b dissolved since
then, so a enters `vip` by merge. At the next evaluation the document of a has version 7, so a inherits nothing from b.
"""

from typing import Any, Final

import msgspec

from schemas.records import GroupRecord, Transition


class SegmentState(msgspec.Struct, array_like=True, frozen=True):
    """Whether the profile is in a segment, the sequence number of the latest transition, and the time of that transition."""

    member: bool
    seq: int
    since_ms: int


DISSOLVED_INTO_MANY: Final = "-"
"""The value of `dissolved_into` for a profile whose members went to more than one other profile."""


class Membership(msgspec.Struct):
    """The document. `latest_*` may be published again: a replay cannot know whether the records reached Kafka before a crash.

    Attributes:
        version: the version of this layout.
        segments: the state of every segment that the profile is in or was in.
        latest_transitions: the transitions of the latest change, and earlier ones that may not have been published.
        profile_hash: a hash of the profile record published last, so that an unchanged profile is not published again.
        label_version: the version of the member list that was evaluated last.
        dissolved_into: the profile that this one merged into, or DISSOLVED_INTO_MANY; empty while the profile exists.
        previous_segments: the segments that the profile was in under the member list before `label_version`.
        emitted_group_hashes: by group id, a hash of the contribution published last to each group of the profile.
        group_seq: the sequence number of the contribution published last.
        latest_group_records: the contributions of the latest change, as for `latest_transitions`.
        computed: the values of the computed traits.
        next_change_ms: when each segment, or computed trait (as `computed.NAME`), changes because time passes.
        plan_fingerprint: the fingerprint of the definitions that the document was evaluated with.
        evaluated_ms: the instant of the evaluation that changed the document last.
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
    evaluated_ms: int = 0

    def active_segments(self) -> set[str]:
        """Return the segments that the profile is in; for a dissolved profile, those that it was in before."""
        if self.dissolved_into:
            return set(self.previous_segments)
        return {name for name, state in self.segments.items() if state.member}

    def segments_inherited_by_merge(self, label_version: int) -> set[str]:
        """Return the segments that a profile takes over from this one, whose members belong to it now.

        `label_version` is the version at which that profile was evaluated last.
        """
        # A dissolved document stays in the store for ever. Its segments are inherited once, by the first evaluation after the
        # merge: later ones have a label version that is not smaller than that of the merge.
        return self.active_segments() if not self.dissolved_into or self.label_version > label_version else set()

    def segments_inherited_by_split(self, label_version: int) -> set[str]:
        """Return the segments that a profile takes over from this one, from which it was split off at `label_version`."""
        # This profile may have been evaluated since the split: then the segments from before the split are the previous ones.
        return set(self.previous_segments) if self.label_version >= label_version else self.active_segments()


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Membership)


def encode_membership(membership: Membership) -> bytes:
    """Return the document as MessagePack; equal states have equal bytes."""
    return _ENCODER.encode(membership)


def decode_membership(data: bytes | None) -> Membership:
    """Return the document in these bytes, or an empty document for None."""
    return Membership() if data is None else _DECODER.decode(data)
