"""What the link agent decides link by link is what `resolve` gives over everything, and costs what changes and no more."""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from domain.identity import clusters
from domain.identity.closure import Closure, Reach
from domain.identity.rules import DEFAULT_RULES
from schemas.instants import DAY_MS
from schemas.records import LinkDecision, ReclusterRequest
from tests.support.incremental_clusters import LinkAgent, link, node_name, run_random_history
from tests.support.rounds import rounds

ROUNDS = int(os.environ.get("ONEFOLD_LAWS_ROUNDS", "1"))
FIRST = int(os.environ.get("ONEFOLD_LAWS_SEED", "0"))
CROWDED_AT = 8


@pytest.fixture
def _small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MAX_NEIGHBOURS", CROWDED_AT)


async def run_histories(seeds: Iterable[int]) -> None:
    for seed in seeds:
        try:
            await run_random_history(seed)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.usefixtures("_small_world")
async def test_links_cuts_and_changes_of_rules_one_by_one_equal_resolving_everything_from_nothing() -> None:
    await run_histories(range(FIRST, FIRST + rounds(quick=50, thorough=1_500) * ROUNDS))


def _without(part: str) -> Callable[[Closure], Reach]:
    reach = Closure.reach
    return lambda self: replace(reach(self), **{part: frozenset()})


@pytest.mark.usefixtures("_small_world")
@pytest.mark.parametrize(
    "mutant", [lambda _: Reach(), _without("entering")], ids=["no edge is tried again", "no profile around takes part"]
)
async def test_a_closure_that_stops_too_early_is_found(mutant: Callable[[Closure], Reach], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Closure, Closure.reach.__name__, mutant)
    # A closure without a node that a change concerns also fails with a KeyError, before anything is stored.
    with pytest.raises((AssertionError, KeyError)):
        await run_histories(range(500))


def user(number: int) -> str:
    return node_name("user_id", number)


def device(number: int) -> str:
    return node_name("device_id", number)


async def ring_of_customers(count: int) -> LinkAgent:
    """Return an agent that knows as many devices as customers, each used by two neighbours of a ring: live evidence joins all."""
    agent = LinkAgent(DEFAULT_RULES)
    links = [link(user(n), device(n), n % 20 * DAY_MS) for n in range(count)]
    links += [link(user((n + 1) % count), device(n), (7 * n) % 20 * DAY_MS) for n in range(count)]
    for start in range(0, len(links), 100):
        await agent.apply(*links[start : start + 100])
    await agent.check()
    return agent


@pytest.fixture(params=[50, 1_000])
def customers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


async def test_a_link_reads_what_it_changes_however_many_customers_share_devices(customers: int) -> None:
    agent = await ring_of_customers(customers)
    cookie = await agent.apply(link(user(10), node_name("anonymous_id", 1), 30 * DAY_MS))
    moved = await agent.apply(link(user(20), device(20), 40 * DAY_MS), link(user(21), device(20), 41 * DAY_MS))
    cut = await agent.apply(
        LinkDecision(operation="o", action="cut", pairs=(("cut", user(21), device(20)),), on=True, at_ms=1, by="b", reason="r")
    )
    await agent.check()
    assert len(cookie.read_nodes) <= 10
    assert len(moved.read_nodes) <= 20
    assert len(cut.read_nodes) <= 20


async def test_a_change_of_rules_reads_each_node_a_fixed_number_of_times(customers: int) -> None:
    agent = await ring_of_customers(customers)
    agent.rules = replace(DEFAULT_RULES, prefer="first", sequence_number=1)
    heads, reads = await agent.representatives(), 0
    for start in range(0, len(heads), 20):
        closure = await agent.apply(ReclusterRequest(nodes=tuple(heads[start : start + 20]), rules_number=1))
        reads += len(closure.read_nodes)
    await agent.check()
    assert reads <= 5 * 2 * customers
