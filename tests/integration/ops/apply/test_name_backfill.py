"""Names that a definition begins to read, put back where they had been dropped: into accounts, and for the identity rules."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.definitions.kinds import load_yaml
from domain.identity.groups import decode_group
from domain.profiles import bounds
from runtime.settings import Settings
from schemas.events import Event
from tests.support.events import START_MS, event
from tests.support.live_pipeline import LivePipeline, live_pipeline
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse
READ = "cỡ_mũ"
"""A trait whose hash is larger than those of the names beside it."""
ACCOUNT_READER = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: large}
spec: {where: {account: {trait: {path: cỡ_mũ, value: 58}}}}
"""
RULES = """
apiVersion: onefold/v1
kind: IdentityRules
metadata: {name: default}
spec: {household: {landline: true, shared_traits: [cỡ_mũ]}}
"""


@pytest.fixture(autouse=True)
def _one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_TRAITS", 1)


@pytest.fixture
async def world(clickhouse_settings: Settings, warehouse: Warehouse, tmp_path: Path) -> AsyncIterator[LivePipeline]:
    async with live_pipeline(clickhouse_settings, warehouse, tmp_path) as pipeline:
        yield pipeline


def named(identifier: str, group: str, **traits: object) -> Event:
    """Return a group call, or an identify without a group."""
    properties = {"groupId": group} if group else {}
    kind = "group" if group else "identify"
    return event(
        {"user_id": "u1"}, id=identifier, type=kind, properties=properties, traits=traits, time_ms=START_MS  # type: ignore[arg-type]
    )  # fmt: skip


async def test_a_trait_of_an_account_comes_back_when_a_segment_reads_it(world: LivePipeline) -> None:
    await world.send_events(
        [named("g1", "Công ty A", **{READ: 58}), *(named(f"n{n}", "Công ty A", **{f"x{n}": n}) for n in range(9))]
    )
    await world.wait_until_idle()
    [before] = [decode_group(data) async for _, data in world.store.scan("group")]
    assert READ not in before.traits
    applied = await world.backfill().apply(load_yaml(ACCOUNT_READER, "test"))
    assert applied.segments["large"].after == 1
    await world.wait_until_idle()
    [after] = [decode_group(data) async for _, data in world.store.scan("group")]
    assert after.traits[READ].value == 58
    assert list((await world.segments_by_profile()).values()) == [{"large"}]


async def test_a_trait_that_households_share_comes_back_when_the_identity_rules_read_it(world: LivePipeline) -> None:
    await world.send_events([named("i1", "", **{READ: 58}), *(named(f"n{n}", "", **{f"x{n}": n}) for n in range(9))])
    await world.wait_until_idle()
    assert all(READ not in fragment.traits for fragment in (await world.fragments()).values())
    await world.backfill().apply(load_yaml(RULES, "test"))
    [fragment] = (await world.fragments()).values()
    assert fragment.traits[READ].value == 58
