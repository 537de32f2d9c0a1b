"""Touches many profiles, so that the segment agent evaluates them again: a chunk at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from profile_store.agent_waiter import AGENT_TIMEOUT_S, AgentWaiter
from profile_store.port import ProfileStore
from runtime.bus.port import Bus, Outgoing
from runtime.chunks import chunked
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Touched

CHUNK: Final = 1_000
"""Touches that are on the topic at the same time. A live touch queues behind at most so many: about a quarter of a second."""
POLL_S: Final = 0.02
"""How often the agent's positions are read. A chunk takes 0.2 s or so, hence a longer interval would be most of the time."""


def _ignore_progress(_: int) -> None:
    """Discard the report."""


@dataclass(frozen=True, slots=True)
class ProfileToucher:
    """Publishes touches of profiles. `timeout_s` bounds how long the segment agent may take for one chunk."""

    settings: Settings
    bus: Bus
    store: ProfileStore
    timeout_s: float = AGENT_TIMEOUT_S

    async def touch(
        self,
        profile_ids: Sequence[str],
        make_touch: Callable[[str], Touched],
        on_chunk: Callable[[int], None] = _ignore_progress,
    ) -> None:
        """Publish one touch of each profile, chunk by chunk, and return once the segment agent has passed the last chunk.

        `on_chunk` is called after each chunk with the number of profiles that are evaluated.

        Raises AgentBehind when the agent does not pass a chunk in time (the profiles after that chunk have not been touched),
        Transient when the broker or the store does not answer.
        """
        topic = self.settings.topic("touched")
        waiter = AgentWaiter(
            store=self.store,
            topic="touched",
            partition_count=len(await self.bus.end_offsets(topic)),
            timeout_s=self.timeout_s,
            poll_s=POLL_S,
        )
        completed = 0
        producer = await self.bus.producer()
        try:
            for chunk in chunked(profile_ids, CHUNK):
                records = [Outgoing(topic, encode(make_touch(profile_id)), key=profile_id.encode()) for profile_id in chunk]
                await waiter.publish_and_wait(producer, records)
                completed += len(chunk)
                on_chunk(completed)
        finally:
            await producer.aclose()
