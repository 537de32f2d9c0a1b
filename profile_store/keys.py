"""Every key in Redis: its shape, its type, its lifetime. No key holds personal data: nodes are keyed hashes.

    <env>:f:<node>       string  fragment of an owner: header and data             until erased
    <env>:s:<profile>    string  memberships of a profile: header and data         until erased
    <env>:g:<group>      string  an account or a household: header and data        until erased
    <env>:u:<place>      string  what the link agent must remember of itself       until wiped
    <env>:c:<place>      string  checkpoint of a backfill: profiles are to be evaluated     until they are
    <env>:l:<node>       string  label: `<version> <profile>`                      until relabelled
    <env>:m:<profile>    string  members: JSON, see values.pack_members            until relabelled
    <env>:e:<node>       hash    neighbour -> evidence, `-` or `!` and neighbour -> a person's decision; kept at both ends
    <env>:t:<place>      zset    profile -> due_ms                                 an entry until it is set anew or cleared
    <env>:p:<place>      string  position: the next offset to read                 until wiped
    <env>:b:<place>      string  fence: how often its writers were shut out        until wiped
    <env>:d:<key>        string  delivery settled: until when, in ms               as long as the caller asks
    <env>:r:<name>       string  a run that one process has claimed: until when    as long as the caller asks
    <env>:hold           string  writers wait: until when, in ms                   60 s

On a cluster a place's keys share one slot by a hash tag, and there is one more of them:

    <env>:t:{<place>}    zset    as above
    <env>:p:{<place>}    string  `<position> <entry's fence>`
    <env>:b:{<place>}    string  as above
    <env>:w:{<place>}    string  write-ahead entry: what a slice's save is about to write    until it is written, some ms

and what `save` wrote (fragments, memberships, groups, link_outbox, backfill_checkpoint, labels, members, evidence, decisions)
begins with its fence, see lua/place.lua. All other keys stand alone, so a cluster spreads them evenly.
"""

from collections.abc import Sequence
from typing import Final

KIND_LETTERS: Final = {
    "fragment": "f",
    "membership": "s",
    "group": "g",
    "link_outbox": "u",
    "backfill_checkpoint": "c",
    "label": "l",
    "members": "m",
    "edges": "e",
    "timer": "t",
    "position": "p",
    "fence": "b",
}
"""The kinds that can be scanned and wiped, and the letter of each in its keys."""

WRITER_PAUSE_MS: Final = 60_000


WRITE_AHEAD: Final = "ahead"
"""The kind of a place's write-ahead entry. It goes with the position: it is not wiped alone."""

_PARTITION_KINDS: Final = ("timer", "position", "fence", WRITE_AHEAD)


class Keys:
    """The keys of one environment. `tagged`: those of a place share a slot."""

    def __init__(self, environment: str, *, tagged: bool = False) -> None:
        self._environment = environment
        ends = {kind: ("{", "}") if tagged and kind in _PARTITION_KINDS else ("", "") for kind in (*KIND_LETTERS, WRITE_AHEAD)}
        letters = {**KIND_LETTERS, WRITE_AHEAD: "w"}
        self._prefixes = {kind: f"{environment}:{letters[kind]}:{start}" for kind, (start, _) in ends.items()}
        self._suffixes = {kind: end for kind, (_, end) in ends.items()}
        self.writer_pause = f"{environment}:hold"

    def of(self, kind: str, name: str) -> str:
        """The key of an entry of a kind."""
        return self._prefixes[kind] + name + self._suffixes[kind]

    def of_many(self, kind: str, names: Sequence[str]) -> list[str]:
        """The keys of several entries of a kind."""
        prefix, suffix = self._prefixes[kind], self._suffixes[kind]
        return [prefix + name + suffix for name in names]

    def delivery(self, key: str) -> str:
        """The key of a settled delivery."""
        return f"{self._environment}:d:{key}"

    def run(self, name: str) -> str:
        """Return the key of a run that one process of several claims."""
        return f"{self._environment}:r:{name}"

    def pattern(self, kind: str) -> str:
        """A SCAN pattern for all entries of a kind. Environments hold no character that is special in it."""
        return self._prefixes[kind] + "*"

    def name(self, kind: str, key: bytes) -> str:
        """The entry's name in its key."""
        return key.decode().removeprefix(self._prefixes[kind]).removesuffix(self._suffixes[kind])
