"""The membership document of one profile: which segments it is in, and what was last said of it. Pure."""

from typing import Final

import msgspec

from schemas.records import Transition


class SegmentState(msgspec.Struct, array_like=True, frozen=True):
    """Whether the profile is in a segment, the number of the last transition, and since when."""

    member: bool
    seq: int
    since_ms: int


class Membership(msgspec.Struct):
    """`last` are the transitions of the last change, and those before it that may not have been said: a replay says them again.

    `label_version` is the version of the member list that was last evaluated. A profile that was dissolved keeps in `moved` the
    segments it was in, so that the profile it went into knows that the person is not new to them.
    """

    version: int = 1
    segments: dict[str, SegmentState] = {}
    last: tuple[Transition, ...] = ()
    profile_hash: str = ""
    label_version: int = 0
    dissolved_into: str = ""
    moved: tuple[str, ...] = ()

    def held(self) -> set[str]:
        """The segments that this person is, or was at dissolution, in."""
        return {name for name, state in self.segments.items() if state.member} | set(self.moved)


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(Membership)


def encode(membership: Membership) -> bytes:
    """The document as it is kept: MessagePack, the same bytes for the same state."""
    return _ENCODER.encode(membership)


def decode(data: bytes | None) -> Membership:
    """A document from its bytes; a new one when there are none yet."""
    return Membership() if data is None else _DECODER.decode(data)
