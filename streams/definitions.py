"""Definitions as this process knows them: read from their topic at the start, then followed."""

import asyncio
import logging
from typing import Final

from runtime.bus.follow import follow
from runtime.bus.port import Bus, Record
from runtime.settings import Settings
from segments.definitions import BadDefinition, Destination, Segment, Source, decode
from segments.plan import CyclicSegments, Plan

log: Final = logging.getLogger(__name__)


class Definitions:
    """The definitions that hold now. Readers take `plan` and `sources` anew for each slice."""

    def __init__(self) -> None:
        self._held: dict[str, Source | Segment | Destination] = {}
        self.caught_up = asyncio.Event()
        self.plan = Plan(())
        self.sources: list[Source] = []

    def take(self, record: Record) -> None:
        """Take a record of the topic; one that cannot be used is logged and changes nothing."""
        key = (record.key or b"").decode(errors="replace")
        try:
            held = {name: definition for name, definition in self._held.items() if name != key}
            if record.value is not None:
                held[key] = decode(record.value, key)
            self.plan = Plan(definition for definition in held.values() if isinstance(definition, Segment))
            self.sources = [definition for definition in held.values() if isinstance(definition, Source)]
            self._held = held
        except (BadDefinition, CyclicSegments) as error:
            log.warning(
                "a definition cannot be used; what held before it holds on",
                extra={"action": "definition_skipped", "offset": record.offset, "reason": str(error)},
            )


async def follow_definitions(settings: Settings, bus: Bus, definitions: Definitions) -> None:
    """Keep `definitions` true to the topic, for ever; `caught_up` is set once what was defined at the start is known."""

    async def show() -> None:
        definitions.caught_up.set()

    await follow(bus, settings.topic("definitions"), definitions.take, show)
