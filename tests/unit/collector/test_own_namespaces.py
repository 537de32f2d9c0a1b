"""The collector follows the namespaces that the identity rules declare."""

import asyncio
from contextlib import suppress

from collector.source_registry import follow_sources
from domain.definitions.kinds import encode_definition, load_yaml
from runtime.bus.port import Outgoing
from tests.support.collector_harness import KEY, collector_harness, source
from tests.support.polling import eventually_async

RULES = """
apiVersion: onefold/v1
kind: IdentityRules
metadata: {name: default}
spec: {namespaces: {loyalty_card: {rank: 1, normalise: digits}}}
"""
CALL = {"type": "track", "event": "Sale", "userId": "u1", "identifiers": {"loyalty_card": "4000 1234"}}


async def test_events_and_files_may_name_a_namespace_as_soon_as_it_is_declared() -> None:
    async with collector_harness() as at:
        topic = at.settings.topic("definitions")
        await at.bus.create_topics({topic: (1, {})})
        producer = await at.bus.producer()
        definitions = [source("default", KEY), *load_yaml(RULES, "test")]

        async def publish(index: int) -> None:
            definition = definitions[index]
            await producer.send([Outgoing(topic, encode_definition(definition), definition.key.encode())])

        await publish(0)
        following = asyncio.create_task(follow_sources(at.settings, at.bus, at.sources))
        try:
            assert (await at.post("/v1/track", {**CALL, "messageId": "early"})).status_code == 200
            ((record, _),) = await at.quarantined()
            assert record.reason == "wrong_type"
            await publish(1)
            await eventually_async(lambda: "loyalty_card" in at.sources.namespaces, within_s=10)
            assert (await at.post("/v1/track", {**CALL, "messageId": "late"})).status_code == 200
            file = "Mã khách hàng,identifiers.loyalty_card\nKH-7,40005678\n".encode()
            assert (await at.post("/v1/import/customers", content=file)).status_code == 200
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        imported, late = await at.events()
        assert late.identifiers == (("loyalty_card", "40001234"), ("user_id", "u1"))
        assert imported.identifiers == (("loyalty_card", "40005678"), ("user_id", "KH-7"))
