"""Stream against SQL on a real ClickHouse: nothing differs, until something was made to; then it is found, named and mended."""

from dataclasses import replace

import msgspec
import pytest

from ops.segments import verifier as verify
from ops.segments.reconcile import reconcile
from ops.segments.to_json import shape_verified
from ops.segments.verifier import Compared, Differing, Verified
from domain.profiles import fragment as model
from profile_store.port import Document, Writes
from warehouse.client import Warehouse
from runtime.errors import Invalid, Transient
from runtime.metrics import Metrics
from runtime.settings import Settings
from schemas.codec import decode
from schemas.records import Touched
from domain.definitions.kinds import Segment, load_yaml
from tests.support.events import event
from tests.support.verify_world import PLACE, Verifying

pytestmark = pytest.mark.clickhouse

NOW, MINUTE = 1_750_000_000_000, 60_000
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
"""
SEGMENTS = [one for one in load_yaml(DEFINITIONS, "test") if isinstance(one, Segment)]
PROFILES = 6


@pytest.fixture
async def verifying(clickhouse_settings: Settings, warehouse: Warehouse) -> Verifying:
    made, events = Verifying(clickhouse_settings, warehouse, SEGMENTS), []
    for number in range(PROFILES):
        customer, cookie = {"user_id": f"khách-{number}"}, {"anonymous_id": f"máy-{number}"}
        events.append(event(cookie, id=f"x{number}", name="Xem hàng", time_ms=NOW - 10 * MINUTE))
        traits = {"name": f"Nguyễn Ánh {number}"}
        events.append(event(customer | cookie, id=f"i{number}", type="identify", traits=traits, time_ms=NOW - 9 * MINUTE))
        if number % 2:
            events.append(event(customer, id=f"o{number}", name="Đặt hàng", time_ms=NOW, properties={"total": 60}))
    await made.happen(*events)
    return made


def one(verified: Verified, name: str) -> Compared:
    return next(found for found in verified.segments if found.segment == name)


async def profile_of(verifying: Verifying, number: int) -> str:
    owner = event({"user_id": f"khách-{number}"}, id="-").owner
    return (await verifying.pipeline.store.labels([owner]))[owner].profile_id


async def test_untouched_stream_and_sql_have_the_same_members(verifying: Verifying) -> None:
    found = await verifying.verifier.verify(repair=True)
    assert (found.agrees, found.looks, found.repaired) == (True, 1, 0)
    assert {compared.segment: compared.both for compared in found.segments} == {
        "chi-nhieu": 0,
        "chua-mua": 3,
        "nguoi-mua": 3,
        "tat-ca": PROFILES,
    }
    assert not verifying.to.sent


async def test_a_membership_that_was_tampered_with_is_found_in_both_directions(verifying: Verifying) -> None:
    first, second = await profile_of(verifying, 0), await profile_of(verifying, 1)
    await verifying.tamper(first, {"nguoi-mua": True})
    await verifying.tamper(second, {"nguoi-mua": False})
    found = await verifying.verifier.verify(["nguoi-mua", "tat-ca"])
    differing = one(found, "nguoi-mua").differing
    assert (differing.stream, differing.sql) == (frozenset({first}), frozenset({second}))
    assert (found.agrees, found.looks, one(found, "nguoi-mua").both) == (False, verifying.verifier.looks, 2)
    assert one(found, "nguoi-mua").causes.stale == 2
    assert one(found, "tat-ca").agrees
    assert not verifying.to.sent
    shaped = shape_verified(found)
    assert msgspec.json.decode(msgspec.json.encode(shaped)) == shaped
    assert shaped["segments"][0]["profiles_only_sql"] == [second]


async def test_more_than_fit_into_one_question_are_compared_too(verifying: Verifying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "CHUNK", 1)
    broken = [await profile_of(verifying, number) for number in range(PROFILES)]
    for profile_id in broken:
        await verifying.tamper(profile_id, {"tat-ca": False})
    found = await verifying.verifier.verify(["tat-ca"])
    assert one(found, "tat-ca").differing == Differing(sql=frozenset(broken))
    repaired = await verifying.verifier.verify(repair=True)
    assert (repaired.agrees, repaired.repaired, one(repaired, "tat-ca").both) == (True, PROFILES, PROFILES)


async def test_repair_evaluates_anew_what_differs_and_nothing_else(verifying: Verifying) -> None:
    first, second = await profile_of(verifying, 0), await profile_of(verifying, 1)
    await verifying.tamper(first, {"nguoi-mua": True, "chua-mua": False})
    await verifying.tamper(second, {"nguoi-mua": False})
    before = len(verifying.pipeline.transitions())
    found = await verifying.verifier.verify(repair=True)
    assert (found.agrees, found.repaired) == (True, 2)
    assert {compared.segment: compared.both for compared in found.segments}["nguoi-mua"] == 3
    said = [decode(Touched, record.value) for record in verifying.to.sent]
    assert {(touched.profile_id, touched.cause) for touched in said} == {(first, "reconcile"), (second, "reconcile")}
    assert len(verifying.pipeline.transitions()) == before + 3
    new = [t for t in verifying.pipeline.transitions() if t.cause == "reconcile"]
    assert {(t.profile_id, t.segment, t.op, t.cause) for t in new} == {
        (first, "nguoi-mua", "exited", "reconcile"),
        (first, "chua-mua", "entered", "reconcile"),
        (second, "nguoi-mua", "entered", "reconcile"),
    }


async def test_what_only_was_on_its_way_is_no_drift(verifying: Verifying) -> None:
    connected, asked = verifying.verifier.warehouse, 0

    async def arriving() -> Warehouse:
        """The stream's event reaches ClickHouse between the first look and the second."""
        nonlocal asked
        asked += 1
        if asked == 2:
            await verifying.settle()
        return await connected()

    verifying.pipeline.feed(event({"user_id": "khách-0"}, id="late", name="Đặt hàng", time_ms=NOW))
    await verifying.pipeline.drain()
    found = await replace(verifying.verifier, warehouse=arriving).verify(["nguoi-mua"], repair=True)
    assert (found.agrees, found.looks, found.repaired, one(found, "nguoi-mua").both) == (True, 2, 0, 4)


async def test_what_a_leaf_does_not_keep_is_named_as_the_cause(verifying: Verifying) -> None:
    owner = {"user_id": "khách-1"}
    await verifying.happen(
        *(event(owner, id=f"nhỏ-{n}", name="Đặt hàng", time_ms=NOW + n, properties={"total": 15}) for n in range(1, 6))
    )
    found = await verifying.verifier.verify(["chi-nhieu"], repair=True)
    compared = one(found, "chi-nhieu")
    assert compared.differing.sql == {await profile_of(verifying, 1)}
    assert (compared.causes.approximate, compared.causes.stale, compared.causes.registers) == (1, 0, 0)
    assert compared.causes.leaves == (("the sum of total, Đặt hàng in the last 1d ≥ 100", 1),)
    assert found.repaired == 1


async def test_registers_that_lost_an_event_are_named_as_the_cause(verifying: Verifying) -> None:
    owner = event({"user_id": "khách-1"}, id="-").owner
    store = verifying.pipeline.store
    fragment = model.decode((await store.documents("fragment", [owner]))[owner].data)
    fragment.kept.clear()
    expected = (await store.standing(PLACE)).position
    at = (expected or 0) + 1
    writes = Writes(documents={("fragment", owner): Document(model.encode(fragment), PLACE.name, at)})
    assert not await store.save(PLACE, expected, at, writes)
    await verifying.tamper(await profile_of(verifying, 1), {"nguoi-mua": False})
    found = await verifying.verifier.verify(["nguoi-mua"], repair=True)
    lost = one(found, "nguoi-mua")
    assert (found.repaired, lost.agrees, lost.causes.registers, lost.causes.stale) == (1, False, 1, 0)


async def test_a_segment_agent_that_does_not_run_is_named(verifying: Verifying, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "REPAIR_S", 0.1)
    verifying.to.asleep = True
    await verifying.tamper(await profile_of(verifying, 0), {"nguoi-mua": True})
    with pytest.raises(Transient, match="are the stream workers running"):
        await verifying.verifier.verify(repair=True)


async def test_an_unknown_segment_is_refused(verifying: Verifying) -> None:
    with pytest.raises(Invalid, match="khong-co"):
        await verifying.verifier.verify(["khong-co"])


async def test_the_nightly_run_mends_shows_and_is_done_once_a_day(verifying: Verifying) -> None:
    metrics = Metrics()
    await verifying.tamper(await profile_of(verifying, 0), {"nguoi-mua": True})
    found = await reconcile(verifying.verifier, metrics, NOW)
    assert found is not None
    assert (found.agrees, found.repaired) == (True, 1)
    shown = metrics.exposition().decode()
    assert 'onefold_segment_drift_profiles{segment="nguoi-mua"} 0.0' in shown
    assert 'onefold_segment_members{segment="tat-ca"} 6.0' in shown
    assert await reconcile(verifying.verifier, metrics, NOW) is None
    assert await reconcile(verifying.verifier, metrics, NOW + 86_400_000) is not None


async def test_a_nightly_run_without_clickhouse_ends_quietly(verifying: Verifying) -> None:
    async def away() -> Warehouse:
        raise Transient("ClickHouse does not answer")

    assert await reconcile(replace(verifying.verifier, warehouse=away), Metrics(), NOW) is None
