"""Relink: when the identity rules change, have every cluster looked at again, a few at a time beside the live links."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from profile_store.port import Place, ProfileStore
from runtime.bus.port import Outgoing, Producer
from runtime.errors import Transient
from runtime.settings import Settings
from schemas.codec import encode
from schemas.records import Look
from domain.identity.rules import Rules
from streams.steps.link import state_of

log: Final = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often the rules are compared with those that the clusters stand for."""
CHUNK: Final = 200
"""Clusters to be looked at in one record: live links wait no longer than these take."""
STEP_S: Final = 0.02
PATIENCE_S: Final = 120.0
"""A chunk that is not done by then has gone astray: the round begins anew."""


class Relink:
    """Rounds over all clusters, while this process has the link agent's partition. A round that is cut off begins anew."""

    def __init__(
        self,
        settings: Settings,
        store: ProfileStore,
        producer: Producer,
        rules: Callable[[], Rules],
        places: Callable[[], Sequence[Place]],
    ) -> None:
        self._settings, self._store, self._producer = settings, store, producer
        self._rules, self._places = rules, places

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                for place in self._places():
                    await self.look(place)
            except Transient as error:
                log.warning("a round over the clusters is put off", extra={"action": "relink_waits"}, exc_info=error)

    async def look(self, place: Place) -> bool:
        """A round if the clusters do not stand for the rules of now; whether it was done to its end. Raises Transient."""
        number = self._rules().number
        if (await state_of(self._store, place)).rules == number:
            return True
        log.info("the identity rules have changed: every cluster is looked at again", extra={"action": "relink_begins"})
        count = 0
        async for nodes in self._clusters():
            if not await self._said(place, Look(nodes=tuple(nodes), number=number), number):
                return False
            count += len(nodes)
        if not await self._said(place, Look(nodes=(), number=number), number):
            return False
        done = (await state_of(self._store, place)).rules == number
        log.info("every cluster was looked at", extra={"action": "relink_ended", "clusters": count, "done": done})
        return done

    async def _said(self, place: Place, look: Look, number: int) -> bool:
        """Say a record and wait until the link agent has done it; false when the round has lost its sense meanwhile."""
        topic = self._settings.topic(place.topic)
        [(_, offset)] = await self._producer.send([Outgoing(topic, encode(look))])
        try:
            async with asyncio.timeout(PATIENCE_S):
                while ((await self._store.standing(place)).position or 0) <= offset:
                    if self._rules().number != number or place not in self._places():
                        return False
                    await asyncio.sleep(STEP_S)
        except TimeoutError:
            raise Transient("the link agent does not get on") from None
        return True

    async def _clusters(self) -> AsyncIterator[list[str]]:
        """One node of every cluster of which there is evidence, in chunks."""
        page: list[str] = []
        async for node, _ in self._store.scan("edges"):
            page.append(node)
            if len(page) == CHUNK:
                yield await self._heads(page)
                page = []
        if page:
            yield await self._heads(page)

    async def _heads(self, nodes: list[str]) -> list[str]:
        """Those that are their profile's id, so that each cluster comes once."""
        labels = await self._store.labels(nodes)
        return [node for node in nodes if labels[node].profile_id == node]
