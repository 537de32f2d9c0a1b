"""Epochs: which Kafka log the offsets belong to, and how the offsets of two logs compare.

**Why.** Positions, guards of documents, label versions and the ledger compare offsets, for ever. When Kafka's disk is lost, or
another cluster answers under the same name, offsets begin again at 0. To everything that is stored, new records would then seem to
be old ones: they would be ignored without a word.

**Invariant.** An offset of a later log is larger than every offset of an earlier one. The log of epoch `e` begins at offset
`e * EPOCH_OFFSETS` instead of 0. The drivers of the bus add that number to what Kafka says and subtract it from what they ask;
above them nobody knows of epochs. The first log has the epoch 0, so its offsets are those of Kafka.

**Example.** A fragment was last changed by offset 41,000 of the first log. Kafka is lost and a new one is adopted as epoch 1. Its
first record has offset 0 for Kafka and 17,592,186,044,416 for Onefold: the fragment takes it.

Epochs stop at MAX_EPOCH, because a Redis script and JSON keep numbers exact up to 2**53.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtime.errors import Misconfigured

EPOCH_OFFSETS: Final = 2**44
"""How many offsets one log may have in a partition: 17 million million, or 5 years of 100,000 records a second."""
MAX_EPOCH: Final = 2**53 // EPOCH_OFFSETS - 1


def first_offset(epoch: int) -> int:
    """Return the offset at which the partitions of a log of this epoch begin. Raises Misconfigured beyond MAX_EPOCH."""
    if not 0 <= epoch <= MAX_EPOCH:
        raise Misconfigured(f"epoch {epoch} is not among 0 to {MAX_EPOCH}: begin with empty stores")
    return epoch * EPOCH_OFFSETS


def log_start(offset: int) -> int:
    """Return the offset at which the log of this offset begins."""
    return offset - offset % EPOCH_OFFSETS


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """What tells a Kafka log from another one: the id of its cluster, and the id that each topic was given when it was made."""

    cluster_id: str
    topic_ids: Mapping[str, str]

    def difference(self, actual: "LogIdentity") -> str:
        """Return in words how `actual` differs from this one, empty when it is the same. Topics that only one has do not count."""
        if self.cluster_id != actual.cluster_id:
            return "its cluster is another one"
        renewed = sorted(name for name, topic_id in self.topic_ids.items() if actual.topic_ids.get(name, topic_id) != topic_id)
        return f"the topic {', '.join(renewed)} was deleted and made again" if renewed else ""


@dataclass(frozen=True, slots=True)
class AdoptedLog:
    """The log that a store belongs to, its epoch, and the fingerprint of the tenant secret that keyed what is stored.

    The fingerprint is empty when it was never stored.
    """

    epoch: int
    identity: LogIdentity
    secret_fingerprint: str = ""
