"""Stream against SQL on a real ClickHouse: nothing differs until a test causes drift, which is then found, named and repaired."""

from dataclasses import replace

import msgspec
import pytest

from domain.definitions.kinds import load_yaml
from domain.profiles.fragment import decode_fragment, encode_fragment
from ops.segments import verifier as verify
from ops.segments.reconcile import reconcile
from ops.segments.to_json import verification_to_json
from ops.segments.verification import DifferingProfiles, SegmentComparison, SegmentVerification, TraitComparison
from profile_store.agent_waiter import AgentBehind
from profile_store.port import GuardedDocument, Writes
from runtime.errors import Invalid, Transient
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.codec import decode
from schemas.records import Touched
from tests.support.events import event
from tests.support.verify_world import TOPIC_PARTITION, VerifyWorld, tamper
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse

NOW_MS, MINUTE = 1_750_000_000_000, 60_000
DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: nguoi-mua}
spec: {where: {did: {event: Đặt hàng}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: chua-mua}
spec: {where: {all: [{did: {event: Xem hàng, within: 1h}}, {not: {in_segment: nguoi-mua}}]}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: chi-nhieu}
spec: {where: {aggregate: {of: sum, event: Đặt hàng, prop: total, op: gte, value: 100, within: 1d, keep: 2}}}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: tat-ca}
spec: {where: {everyone: true}}
---
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: tong-chi}
spec: {sum: {event: Đặt hàng, prop: total}}
---
apiVersion: onefold/v1
kind: ComputedTrait
metadata: {name: mon-hay-mua}
spec: {most_frequent: {event: Đặt hàng, prop: total}}
"""
SEGMENTS = load_yaml(DEFINITIONS, "test")
PROFILES = 6


@pytest.fixture
async def verify_world(clickhouse_settings: Settings, warehouse: Warehouse) -> VerifyWorld:
    made, events = VerifyWorld(clickhouse_settings, warehouse, SEGMENTS), []
    for number in range(PROFILES):
        customer, cookie = {"user_id": f"khách-{number}"}, {"anonymous_id": f"máy-{number}"}
        events.append(event(cookie, id=f"x{number}", name="Xem hàng", time_ms=NOW_MS - 10 * MINUTE))
        traits = {"name": f"Nguyễn Ánh {number}"}
        events.append(event(customer | cookie, id=f"i{number}", type="identify", traits=traits, time_ms=NOW_MS - 9 * MINUTE))
        if number % 2:
            events.append(event(customer, id=f"o{number}", name="Đặt hàng", time_ms=NOW_MS, properties={"total": 60}))
    await made.process_events(*events)
    return made


def comparison_of(verified: SegmentVerification, name: str) -> SegmentComparison:
    return next(comparison for comparison in verified.segments if comparison.segment == name)


def trait_of(verified: SegmentVerification, name: str) -> TraitComparison:
    return next(comparison for comparison in verified.traits if comparison.trait == name)


async def profile_of(verify_world: VerifyWorld, number: int) -> str:
    owner = event({"user_id": f"khách-{number}"}, id="-").owner
    return (await verify_world.pipeline.store.labels([owner]))[owner].profile_id


async def test_untouched_stream_and_sql_have_the_same_members(verify_world: VerifyWorld) -> None:
    verification = await verify_world.verifier.verify(repair=True)
    assert verification.agrees is True
    assert verification.comparisons == 1
    assert verification.repaired == 0
    assert {compared.segment: compared.both for compared in verification.segments} == {
        "chi-nhieu": 0,
        "chua-mua": 3,
        "nguoi-mua": 3,
        "tat-ca": PROFILES,
    }
    assert {compared.trait: compared.equal for compared in verification.traits} == {
        "lifecycle": PROFILES,
        "mon-hay-mua": 3,
        "rfm": 0,
        "tong-chi": 3,
    }
    assert not verify_world.pipeline_bus.sent


async def test_a_membership_that_was_tampered_with_is_found_in_both_directions(verify_world: VerifyWorld) -> None:
    first, second = await profile_of(verify_world, 0), await profile_of(verify_world, 1)
    await verify_world.tamper(first, {"nguoi-mua": True})
    await verify_world.tamper(second, {"nguoi-mua": False})
    verification = await verify_world.verifier.verify(["nguoi-mua", "tat-ca"])
    differing = comparison_of(verification, "nguoi-mua").differing
    assert differing.stream == frozenset({first})
    assert differing.sql == frozenset({second})
    assert verification.agrees is False
    assert verification.comparisons == verify_world.verifier.max_comparisons
    assert comparison_of(verification, "nguoi-mua").both == 2
    assert comparison_of(verification, "nguoi-mua").causes.stale == 2
    assert comparison_of(verification, "tat-ca").agrees
    assert not verify_world.pipeline_bus.sent
    answer = verification_to_json(verification)
    assert msgspec.json.decode(msgspec.json.encode(answer)) == answer
    assert answer["segments"][0]["profiles_only_sql"] == [second]


async def test_a_computed_trait_that_was_tampered_with_is_found_named_and_repaired(verify_world: VerifyWorld) -> None:
    buyer, visitor, third = [await profile_of(verify_world, number) for number in (1, 2, 3)]
    await tamper(verify_world.pipeline.store, buyer, {}, {"tong-chi": 61})
    await tamper(verify_world.pipeline.store, visitor, {}, {"tong-chi": 60})
    await tamper(verify_world.pipeline.store, third, {}, {"tong-chi": None, "mon-hay-mua": "60"})
    verification = await verify_world.verifier.verify(["computed.tong-chi", "computed.lifecycle"])
    assert verification.agrees is False
    assert verification.segments == ()
    assert [compared.trait for compared in verification.traits] == ["lifecycle", "tong-chi"]
    found = trait_of(verification, "tong-chi")
    assert found.differing == frozenset({buyer, visitor, third})
    assert found.equal == 1
    assert found.causes.stale == 3
    assert trait_of(verification, "lifecycle").agrees
    answer = verification_to_json(verification)
    assert answer["agrees"] is False
    assert answer["traits"][1]["profiles"] == sorted([buyer, visitor, third])
    repaired = await verify_world.verifier.verify(repair=True)
    assert repaired.agrees is True
    assert repaired.repaired == 3
    assert trait_of(repaired, "tong-chi").equal == 3
    assert trait_of(repaired, "mon-hay-mua").equal == 3


async def test_a_computed_trait_from_registers_that_contradict_history_is_named_so(verify_world: VerifyWorld) -> None:
    owner = event({"user_id": "khách-1"}, id="-").owner
    stored = (await verify_world.pipeline.store.documents("fragment", [owner]))[owner]
    fragment = decode_fragment(stored.data)
    fragment.tallies = {key: {} for key in fragment.tallies}
    expected = (await verify_world.pipeline.store.checkpoint(TOPIC_PARTITION)).position
    at = (expected or 0) + 1
    changed = GuardedDocument(encode_fragment(fragment), TOPIC_PARTITION.guard_name, at)
    await verify_world.pipeline.store.save(TOPIC_PARTITION, expected, at, Writes(documents={("fragment", owner): changed}))
    verification = await verify_world.verifier.verify(["computed.tong-chi"], repair=True)
    assert verification.repaired == 0  # the stored value is still right: nobody has evaluated the profile since
    await tamper(verify_world.pipeline.store, await profile_of(verify_world, 1), {}, {"tong-chi": None})
    verification = await verify_world.verifier.verify(["computed.tong-chi"], repair=True)
    assert verification.agrees is False
    assert trait_of(verification, "tong-chi").causes.registers == 1


async def test_profiles_beyond_one_query_page_are_compared(verify_world: VerifyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "CHUNK", 1)
    broken = [await profile_of(verify_world, number) for number in range(PROFILES)]
    for profile_id in broken:
        await verify_world.tamper(profile_id, {"tat-ca": False})
    verification = await verify_world.verifier.verify(["tat-ca"])
    assert comparison_of(verification, "tat-ca").differing == DifferingProfiles(sql=frozenset(broken))
    repaired = await verify_world.verifier.verify(repair=True)
    assert repaired.agrees is True
    assert repaired.repaired == PROFILES
    assert comparison_of(repaired, "tat-ca").both == PROFILES


async def test_repair_reevaluates_only_differing_profiles(verify_world: VerifyWorld) -> None:
    first, second = await profile_of(verify_world, 0), await profile_of(verify_world, 1)
    await verify_world.tamper(first, {"nguoi-mua": True, "chua-mua": False})
    await verify_world.tamper(second, {"nguoi-mua": False})
    before = len(verify_world.pipeline.transitions())
    verification = await verify_world.verifier.verify(repair=True)
    assert verification.agrees is True
    assert verification.repaired == 2
    assert {compared.segment: compared.both for compared in verification.segments}["nguoi-mua"] == 3
    touches = [decode(Touched, record.value) for record in verify_world.pipeline_bus.sent]
    assert {(touched.profile_id, touched.cause) for touched in touches} == {(first, "reconcile"), (second, "reconcile")}
    assert len(verify_world.pipeline.transitions()) == before + 3
    new = [t for t in verify_world.pipeline.transitions() if t.cause == "reconcile"]
    assert {(t.profile_id, t.segment, t.op, t.cause) for t in new} == {
        (first, "nguoi-mua", "exited", "reconcile"),
        (first, "chua-mua", "entered", "reconcile"),
        (second, "nguoi-mua", "entered", "reconcile"),
    }


async def test_records_in_flight_are_not_reported_as_drift(verify_world: VerifyWorld) -> None:
    connected, connections = verify_world.verifier.warehouse, 0

    async def arriving() -> Warehouse:
        """Let the stream's event reach ClickHouse between the verifier's first and second read."""
        nonlocal connections
        connections += 1
        if connections == 2:
            await verify_world.settle()
        return await connected()

    verify_world.pipeline.feed(event({"user_id": "khách-0"}, id="late", name="Đặt hàng", time_ms=NOW_MS))
    await verify_world.pipeline.drain()
    verification = await replace(verify_world.verifier, warehouse=arriving).verify(["nguoi-mua"], repair=True)
    assert verification.agrees is True
    assert verification.comparisons == 2
    assert verification.repaired == 0
    assert comparison_of(verification, "nguoi-mua").both == 4


async def test_truncated_register_is_named_as_the_cause_of_drift(verify_world: VerifyWorld) -> None:
    owner = {"user_id": "khách-1"}
    await verify_world.process_events(
        *(event(owner, id=f"nhỏ-{n}", name="Đặt hàng", time_ms=NOW_MS + n, properties={"total": 15}) for n in range(1, 6))
    )
    verification = await verify_world.verifier.verify(["chi-nhieu"], repair=True)
    compared = comparison_of(verification, "chi-nhieu")
    assert compared.differing.sql == {await profile_of(verify_world, 1)}
    assert compared.causes.approximate == 1
    assert compared.causes.stale == 0
    assert compared.causes.registers == 0
    assert compared.causes.leaves == (("the sum of total, Đặt hàng in the last 1d ≥ 100", 1),)
    assert verification.repaired == 1


async def test_registers_that_lost_an_event_are_named_as_the_cause(verify_world: VerifyWorld) -> None:
    owner = event({"user_id": "khách-1"}, id="-").owner
    store = verify_world.pipeline.store
    fragment = decode_fragment((await store.documents("fragment", [owner]))[owner].data)
    fragment.register_entries.clear()
    expected = (await store.checkpoint(TOPIC_PARTITION)).position
    at = (expected or 0) + 1
    writes = Writes(documents={("fragment", owner): GuardedDocument(encode_fragment(fragment), TOPIC_PARTITION.guard_name, at)})
    assert not await store.save(TOPIC_PARTITION, expected, at, writes)
    await verify_world.tamper(await profile_of(verify_world, 1), {"nguoi-mua": False})
    verification = await verify_world.verifier.verify(["nguoi-mua"], repair=True)
    lost = comparison_of(verification, "nguoi-mua")
    assert verification.repaired == 1
    assert lost.agrees is False
    assert lost.causes.registers == 1
    assert lost.causes.stale == 0


async def test_a_segment_agent_that_does_not_run_is_named(verify_world: VerifyWorld) -> None:
    verify_world.pipeline_bus.agents_paused = True
    await verify_world.tamper(await profile_of(verify_world, 0), {"nguoi-mua": True})
    with pytest.raises(AgentBehind, match=r"the segment agent .* are the stream workers running"):
        await replace(verify_world.verifier, repair_timeout_s=0.1).verify(repair=True)


async def test_an_unknown_segment_is_refused(verify_world: VerifyWorld) -> None:
    with pytest.raises(Invalid, match="khong-co"):
        await verify_world.verifier.verify(["khong-co"])


async def test_nightly_run_repairs_and_reports_once_a_day(verify_world: VerifyWorld) -> None:
    metrics = Metrics()
    await verify_world.tamper(await profile_of(verify_world, 0), {"nguoi-mua": True})
    found = await reconcile(verify_world.verifier, metrics, NOW_MS)
    assert found is not None
    assert found.agrees is True
    assert found.repaired == 1
    shown = metrics.exposition().decode()
    assert 'onefold_segment_drift_profiles{segment="nguoi-mua"} 0.0' in shown
    assert 'onefold_segment_members{segment="tat-ca"} 6.0' in shown
    assert await reconcile(verify_world.verifier, metrics, NOW_MS) is None
    assert await reconcile(verify_world.verifier, metrics, NOW_MS + 86_400_000) is not None


async def test_a_nightly_run_without_clickhouse_ends_quietly(verify_world: VerifyWorld) -> None:
    async def away() -> Warehouse:
        raise Transient("ClickHouse does not answer")

    assert await reconcile(replace(verify_world.verifier, warehouse=away), Metrics(), NOW_MS) is None
