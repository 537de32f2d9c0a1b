"""Measures how long one link takes when customers share devices, so that live evidence connects a large part of all of them.

`python -m tests.bench.shared_devices --customers 5000` prints the time of single links, and of a round over all clusters.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from profile_store.redis_store import RedisStore
from runtime.bus.port import Record
from runtime.clock import SystemClock
from runtime.settings import Settings
from schemas.codec import encode
from schemas.instants import DAY_MS
from schemas.records import LinkRecord, ReclusterRequest
from streams.reclustering import CHUNK_NODES
from streams.steps.link import LinkStep
from tests.bench.links import PLACE, START_MS, link, redis_settings

SINGLE_LINKS: Final = 200


@dataclass(frozen=True, slots=True)
class SharedDevices:
    """The time of one link, in milliseconds, among customers of whom any two may use one device; and of a round, in seconds.

    `alone_ms` is the median for a customer who shares nothing. `round_s` is the time in which every cluster is resolved again.
    """

    customers: int
    nodes: int
    median_ms: float
    worst_ms: float
    alone_ms: float
    round_s: float


async def measure_shared_devices(settings: Settings, customers: int) -> SharedDevices:
    """Store as many devices as customers, each used by two of them, and one cookie for each customer; then send single links."""
    rng = random.Random(5)
    store = RedisStore(settings, SystemClock())
    step = LinkStep(settings, store)
    offset = 0

    async def apply(records: Sequence[LinkRecord]) -> float:
        nonlocal offset
        slice_ = [Record("links", 0, offset + n, START_MS, None, encode(record)) for n, record in enumerate(records)]
        offset += len(records)
        started = time.perf_counter()
        outcome = await step.run(PLACE, slice_, START_MS)
        await store.save(PLACE, outcome.expected, offset, outcome.writes)
        return 1000 * (time.perf_counter() - started)

    users = [("user_id", f"u{number}") for number in range(customers)]
    pairs = [(user, ("anonymous_id", f"c{number}")) for number, user in enumerate(users)]
    pairs += [(user, ("device_id", f"d{number}")) for number in range(customers) for user in rng.sample(users, 2)]
    rng.shuffle(pairs)
    try:
        links = [link(*pair, rng.randrange(30) * DAY_MS) for pair in pairs]
        for start in range(0, len(links), 500):
            await apply(links[start : start + 500])
        shared = [await apply([link(rng.choice(users), ("anonymous_id", f"new{n}"), n)]) for n in range(SINGLE_LINKS)]
        alone = [await apply([link(("user_id", f"x{n}"), ("anonymous_id", f"y{n}"), n)]) for n in range(SINGLE_LINKS)]
        nodes = [node async for node, _ in store.scan("edges")]
        labels = await store.labels(nodes)
        heads = [node for node in nodes if labels[node].profile_id == node]
        started = time.perf_counter()
        for start in range(0, len(heads), CHUNK_NODES):
            await apply([ReclusterRequest(nodes=tuple(heads[start : start + CHUNK_NODES]), rules_number=0)])
        round_s = time.perf_counter() - started
        return SharedDevices(customers, len(nodes), statistics.median(shared), max(shared), statistics.median(alone), round_s)
    finally:
        await store.aclose()


def main() -> None:
    """Print the figures for one number of customers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=5_000)
    options = parser.parse_args()
    with redis_settings() as settings:
        print(asyncio.run(measure_shared_devices(settings, options.customers)))


if __name__ == "__main__":
    main()
