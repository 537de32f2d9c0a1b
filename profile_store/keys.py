"""Every key in Redis: its name, its type, its lifetime. No key holds personal data, because nodes are keyed hashes.

    <env>:f:<node>         string  fragment of an owner: header and data               until erased
    <env>:s:<profile>      string  membership document: header and data                until erased
    <env>:g:<group>        string  an account or a household: header and data          until erased
    <env>:u:<partition>    string  the link agent's outbox: header and data            until wiped
    <env>:c:<partition>    string  a backfill whose profiles are still to be evaluated  until they are evaluated
    <env>:l:<node>         string  label: `<version> <profile>`                        until relabelled
    <env>:m:<profile>      string  member list: JSON, see encoding.pack_members        until relabelled
    <env>:e:<node>         hash    neighbour -> trusted edge; `-` or `!` and neighbour -> decision; stored at both nodes of a pair
    <env>:v:<node>         hash    neighbour -> public edge, also stored at both; one in e:<node> takes its place
    <env>:t:<partition>    zset    profile -> due_ms, the timers                       until a timer is set anew or cleared
    <env>:p:<partition>    string  position: the next offset to read                   until wiped
    <env>:b:<partition>    string  fence: how often the writers were fenced            until wiped
    <env>:d:<delivery>     string  a settled delivery: until when, in ms               as long as the caller asks
    <env>:r:<name>         string  a run that one process has claimed: until when      as long as the caller asks
    <env>:hold             string  writers are paused: until when, in ms               60 s
    <env>:log              string  the Kafka log that the positions stand for: JSON    until another one is adopted

`<partition>` is `TopicPartition.guard_name`, such as `events:3/12`. On a cluster the keys of a partition share one slot by a hash
tag, and there is one more of them, the write-ahead entry:

    <env>:t:{<partition>}  zset    as above
    <env>:p:{<partition>}  string  `<position> <fence of the entry>`
    <env>:b:{<partition>}  string  as above
    <env>:w:{<partition>}  string  what a save is about to write                       until it is written, some ms

Every other value that `save` writes on a cluster (documents, labels, member lists, edges, decisions) begins with the fence of its
entry, see lua/checkpoint.lua. These keys have no hash tag, so a cluster spreads them evenly.
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
    "public_edges": "v",
    "timer": "t",
    "position": "p",
    "fence": "b",
}
"""The kinds that can be wiped, and the letter of each in its keys."""

WRITER_PAUSE_MS: Final = 60_000
"""How long a pause of writers lasts unless it is renewed: a rebuild that died must not stop the agents for ever."""

WRITE_AHEAD: Final = "ahead"
"""The kind of a partition's write-ahead entry. It is wiped together with the position and never alone."""

_PARTITION_KINDS: Final = ("timer", "position", "fence", WRITE_AHEAD)


class Keys:
    """The keys of one environment. With `tagged` the keys of a partition share one slot of a cluster."""

    def __init__(self, environment: str, *, tagged: bool = False) -> None:
        self._environment = environment
        ends = {kind: ("{", "}") if tagged and kind in _PARTITION_KINDS else ("", "") for kind in (*KIND_LETTERS, WRITE_AHEAD)}
        letters = {**KIND_LETTERS, WRITE_AHEAD: "w"}
        self._prefixes = {kind: f"{environment}:{letters[kind]}:{start}" for kind, (start, _) in ends.items()}
        self._suffixes = {kind: end for kind, (_, end) in ends.items()}
        self.writer_pause = f"{environment}:hold"
        self.adopted_log = f"{environment}:log"

    def of(self, kind: str, name: str) -> str:
        """Return the key of an entry."""
        return self._prefixes[kind] + name + self._suffixes[kind]

    def of_many(self, kind: str, names: Sequence[str]) -> list[str]:
        """Return the keys of several entries of one kind."""
        prefix, suffix = self._prefixes[kind], self._suffixes[kind]
        return [prefix + name + suffix for name in names]

    def delivery(self, key: str) -> str:
        """Return the key of a settled delivery."""
        return f"{self._environment}:d:{key}"

    def run(self, name: str) -> str:
        """Return the key of a run that one process of several claims."""
        return f"{self._environment}:r:{name}"

    def pattern(self, kind: str) -> str:
        """Return a SCAN pattern for all entries of a kind; the name of an environment has no character that is special in it."""
        return self._prefixes[kind] + "*"

    def name(self, kind: str, key: bytes) -> str:
        """Return the name of the entry that a key belongs to."""
        return key.decode().removeprefix(self._prefixes[kind]).removesuffix(self._suffixes[kind])
