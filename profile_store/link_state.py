"""What the link agent stores about its own progress. The agent writes it; the round over all clusters and the commands read it."""

from collections.abc import Mapping
from typing import Final

import msgspec

from profile_store.port import GuardedDocument, ProfileStore, TopicPartition

LINKS_PARTITION: Final = TopicPartition("links", 0, 1)
"""The topic `links` has one partition, so that labels have one writer."""


class LinkState(msgspec.Struct):
    """The progress of the link agent, besides the position of its partition."""

    unpublished_ids: tuple[str, ...] = ()
    """The profiles that the last slice changed. A crash may have come before their records were sent."""
    rules: int = 0
    """The number of the identity rules that all clusters follow."""
    missed: bool = False
    """True when a request of the current round was decided by rules other than those that it named."""
    round_resolved: int = 0
    """How many nodes the round that is under way has resolved by the new rules."""
    round_nodes: int = 0
    """How many nodes that round has to resolve; 0 when none is under way."""


_STATE: Final = msgspec.json.Decoder(LinkState)


def link_state_of(documents: Mapping[str, GuardedDocument], topic_partition: TopicPartition) -> LinkState:
    """Return the link agent's state among the documents of kind `link_outbox`; an empty one if it was never stored."""
    data = documents[topic_partition.guard_name].data
    return LinkState() if data is None else _STATE.decode(data)


async def load_link_state(store: ProfileStore, topic_partition: TopicPartition = LINKS_PARTITION) -> LinkState:
    """Return the state of the link agent for a partition; an empty one if it was never stored. Raises Transient."""
    return link_state_of(await store.documents("link_outbox", [topic_partition.guard_name]), topic_partition)
