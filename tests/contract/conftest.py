"""The bus that the contract tests run on: each of them in memory and on a real broker."""

from collections.abc import AsyncIterator

import pytest

from runtime.bus.kafka import KafkaBus
from runtime.bus.memory import MemoryBus
from runtime.bus.port import Bus
from runtime.settings import Settings


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """Yield the twin in memory, then the broker, whose members leave their group soon after they fall silent."""
    if request.param == "memory":
        async with MemoryBus() as twin:
            yield twin
        return
    bootstrap = request.getfixturevalue("kafka")
    async with KafkaBus(Settings(kafka_bootstrap=bootstrap, session_timeout_ms=2_000)) as broker:
        yield broker
