"""What an agent does with a slice: load, decide, return. A step never writes to the store and never sends a record.

Whatever goes wrong after the decision is the applier's business, so a step may be run any number of times for the same records: it
must give the same outcome for the same stored state, records, definitions and time.
"""

from collections.abc import Sequence
from typing import Protocol

from profile_store.port import TopicPartition
from runtime.bus.port import Record
from streams.outcome import Outcome


class Step(Protocol):
    """The step of one agent. `name` is the agent's, and its consumer group's; `topic` is the register's name of what it reads."""

    name: str
    topic: str

    async def run(self, topic_partition: TopicPartition, records: Sequence[Record], now_ms: int) -> Outcome:
        """Decide a slice: records of one partition in offset order. Returns what is to be written and sent.

        Some of the records may have been applied before. They must change nothing, and what they emitted is emitted again, since a
        crash may have come between the save and the send. A record that does not decode goes to quarantine.

        Raises Transient when the store does not answer. Anything else that it raises is a bug, and ends the process.
        """
        ...
