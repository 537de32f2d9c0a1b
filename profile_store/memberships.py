"""What is remembered of a profile's memberships: one guarded document a profile. Pure."""

from typing import Final

import msgspec

from schemas.records import Transition


class SegmentState(msgspec.Struct, array_like=True, frozen=True):
    """Where a profile stands in one segment. `seq` counts its transitions there and only grows; `since_ms` is the last one's.

    `version` is the content hash of the definition that decided.
    """

    member: bool
    seq: int
    since_ms: int
    version: str


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """The memberships of a profile as last decided.

    `last` holds the transitions that the last slice decided: a crash between the state and the records makes a worker
    replay that slice, and it says the identical ones again. `profile_hash` is of the profile as last announced, so that an
    unchanged one is not announced again. `dissolved_into` names the profile that this one was merged into; empty if none.
    """

    version: int = 1
    segments: dict[str, SegmentState] = {}
    last: tuple[Transition, ...] = ()
    profile_hash: str = ""
    dissolved_into: str = ""

    def member_of(self) -> tuple[str, ...]:
        """The names of the segments that the profile is in, sorted."""
        return tuple(sorted(name for name, state in self.segments.items() if state.member))


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Membership)


def encode(membership: Membership) -> bytes:
    """The document as it is kept: MessagePack, the same bytes for the same state."""
    return _ENCODER.encode(membership)


def decode(data: bytes | None) -> Membership:
    """A document from its bytes; that of a profile never evaluated when there are none."""
    return Membership() if data is None else _DECODER.decode(data)
