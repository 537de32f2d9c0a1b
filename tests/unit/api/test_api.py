"""The profile API over the store's twin."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.app import Api
from api.request_bodies import MAX_BODY_BYTES
from domain.identity.model import Label, Members
from domain.identity.rules import CompiledIdentityRules, HouseholdRules, IdentityRulesSpec
from domain.profiles.bounds import MAX_TRAITS
from domain.profiles.fragment import Fragment, apply_event, encode_fragment
from domain.profiles.membership import Membership, SegmentState, encode_membership
from domain.segments.plan import SegmentPlan
from ops.cli.profile import profile_lines
from ops.profile_reader import ProfileReader
from profile_store.memory import MemoryStore
from profile_store.port import DocumentKind, GuardedDocument, TopicPartition, Writes
from runtime.clock import ManualClock
from runtime.errors import Transient
from runtime.settings import Settings
from tests.support.api_tokens import BEARER, TOKEN_NAME, gate_for
from tests.support.events import START_MS, event
from tests.support.identity_world import IdentityWorld
from tests.support.simulated_pipeline import Pipeline

SETTINGS = Settings(tenant_secret="test-secret")
PLACE = TopicPartition("events", 0, 1)


async def put(store: MemoryStore, *events: Any, membership: Membership | None = None) -> list[str]:
    """Apply each event to a fragment of its own, make all owners members of one profile, and return the members."""
    documents: dict[tuple[DocumentKind, str], GuardedDocument] = {}
    nodes: set[str] = set()
    for said in events:
        fragment = Fragment()
        apply_event(fragment, said, SegmentPlan())
        documents["fragment", said.owner] = GuardedDocument(encode_fragment(fragment), PLACE.guard_name, 1)
        nodes |= set(said.nodes)
    members = sorted(nodes)
    if membership is not None:
        documents["membership", members[0]] = GuardedDocument(encode_membership(membership), "", 1)
    labels = {node: Label(members[0], 1) for node in members}
    await store.save(PLACE, None, 1, Writes(documents, labels, {members[0]: Members(tuple(members), 1)}))
    return members


async def lookup(client: httpx.AsyncClient, reference: str) -> httpx.Response:
    return await client.post("/v1/profiles/lookup", json={"profile": reference})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Api(ProfileReader(SETTINGS, store), gate_for()).application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=BEARER) as client:
        yield client


async def test_any_identifier_leads_to_the_joined_profile(store: MemoryStore, client: httpx.AsyncClient) -> None:
    known = Membership(
        segments={"vip": SegmentState(True, 3, START_MS), "lapsed": SegmentState(False, 2, START_MS)},
        computed={"lifecycle": "lead", "thành-phố": "Huế"},
    )
    members = await put(
        store,
        event({"anonymous_id": "cookie-1"}, id="m1", name="Xem hàng"),
        event(
            {"user_id": "u1", "email": "ánh@ví-dụ.vn"},
            id="m2",
            type="identify",
            traits={"name": "Nguyễn Thị Ánh"},
            time_ms=START_MS + 5,
        ),
        membership=known,
    )
    first = await lookup(client, "anonymous_id:cookie-1")
    assert first.status_code == 200
    body = first.json()
    assert body["profile_id"] == members[0]
    assert body["traits"] == {"name": "Nguyễn Thị Ánh"}
    assert body["computed"] == {"lifecycle": "lead", "thành-phố": "Huế"}
    assert body["counters"] == {"$identify": 1, "Xem hàng": 1}
    assert body["segments"] == [{"name": "vip", "since": body["first_seen"]}]
    assert body["members"] == members
    assert {"namespace": "user_id", "value": "u1"} in body["identifiers"]
    for reference in ("user_id:u1", members[0], members[1]):
        assert (await lookup(client, reference)).json() == body
    for member in members:
        assert (await client.get(f"/v1/profiles/id/{member}")).json() == body


async def test_a_profile_says_about_how_many_names_it_has_no_place_for(store: MemoryStore, client: httpx.AsyncClient) -> None:
    many = {f"sở thích {number}": number for number in range(1_000)}
    await put(store, event({"user_id": "u1"}, id="m1", type="identify", traits=many | {"name": "Lan"}))
    body = (await lookup(client, "user_id:u1")).json()
    assert len(body["traits"]) in (MAX_TRAITS, MAX_TRAITS + 1)
    assert body["traits"]["name"] == "Lan"
    assert body["dropped_names"].keys() == {"traits"}
    assert 500 < body["dropped_names"]["traits"] < 1_000
    assert any(line.startswith("  about ") and line.endswith(" traits") for line in profile_lines(body))


async def test_a_value_is_normalised_before_it_is_looked_up(store: MemoryStore, client: httpx.AsyncClient) -> None:
    await put(store, event({"phone": "+84912345678"}, id="m1"))
    assert (await lookup(client, "phone:0912 345 678")).status_code == 200


async def test_values_with_slashes_and_colons_are_taken_whole(store: MemoryStore, client: httpx.AsyncClient) -> None:
    await put(store, event({"user_id": "a/b:c"}, id="m1"))
    assert (await lookup(client, "user_id:a/b:c")).status_code == 200


@pytest.mark.parametrize(
    ("reference", "status", "reason"),
    [
        ("user_id:nobody", 404, "unknown_profile"),
        ("0" + "a" * 31, 404, "unknown_profile"),
        ("zodiac:lion", 400, "unknown_namespace"),
        ("user_id", 400, "malformed"),
        ("email:not-one", 400, "unusable_value"),
        ("user_id:null", 400, "unusable_value"),
        ("", 400, "bad_body"),
    ],
)
async def test_api_errors_are_json_with_a_reason(client: httpx.AsyncClient, reference: str, status: int, reason: str) -> None:
    response = await lookup(client, reference)
    assert response.status_code == status
    assert response.json()["error"]["reason"] == reason
    if reason == "unknown_namespace":
        assert "anonymous_id" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/v1/profiles/id/nonsense", 400, "unusable_value"),
        ("/v1/profiles/phone:0912345678", 404, "unknown_path"),
        ("/v1/profiles/lookup", 405, "method_not_allowed"),
        ("/v1/identity/how/phone:0912345678", 404, "unknown_path"),
        ("/v2/profiles", 404, "unknown_path"),
    ],
)
async def test_no_address_has_an_identifier_in_it(client: httpx.AsyncClient, path: str, status: int, reason: str) -> None:
    response = await client.get(path)
    assert response.status_code == status
    assert response.json()["error"]["reason"] == reason


class UnreachableStore(MemoryStore):
    async def labels(self, nodes: Any) -> dict[str, Label]:
        raise Transient(f"no answer about {len(nodes)} nodes")


class BrokenStore(MemoryStore):
    async def labels(self, nodes: Any) -> dict[str, Label]:
        raise RuntimeError(str(nodes))


@pytest.mark.parametrize(("kind", "status"), [(UnreachableStore, 503), (BrokenStore, 500)])
async def test_a_store_that_fails_is_not_the_callers_fault(kind: type[MemoryStore], status: int) -> None:
    application = Api(ProfileReader(SETTINGS, kind(ManualClock())), gate_for()).application()
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=BEARER) as client:
        response = await lookup(client, "user_id:u1")
    assert response.status_code == status
    assert set(response.json()) == {"error"}


COOKIE, PHONE = "anonymous_id:máy-chung", "phone:+84912345678"
SIGNED = {"reason": "hai người, một máy"}


@pytest.fixture
async def world() -> IdentityWorld:
    made = IdentityWorld()
    pairs = [{"email": "ánh@shop.vn", "anonymous_id": "máy-chung"}, {"phone": "+84912345678", "anonymous_id": "máy-chung"}]
    await made.process_events(*(event(pair, id=f"m{n}", name="Xem hàng", time_ms=START_MS + n) for n, pair in enumerate(pairs)))
    return made


@pytest.fixture
async def identity_client(world: IdentityWorld) -> AsyncIterator[httpx.AsyncClient]:
    reader = ProfileReader(world.service.settings, world.pipeline.store)
    transport = httpx.ASGITransport(Api(reader, gate_for(), world.service).application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=BEARER) as client:
        yield client


async def test_api_explains_a_pair_and_a_profile(identity_client: httpx.AsyncClient) -> None:
    response = await identity_client.post("/v1/identity/why", json={"a": "email:ánh@shop.vn", "b": PHONE})
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body["verdict"] == "together"
    assert body["path"][0]["first_event"]["name"] == "Xem hàng"
    told = (await identity_client.post("/v1/identity/how", json={"profile": body["a"]["profile_id"]})).json()
    assert [turn["outcome"] for turn in told["turns"]] == ["joined", "joined"]
    assert (await identity_client.post("/v1/identity/how", json={"profile": COOKIE})).json() == told


async def test_api_cuts_a_pair_and_undoes_it(identity_client: httpx.AsyncClient) -> None:
    cut = await identity_client.post("/v1/identity/cut", json={"a": PHONE, "b": COOKIE, **SIGNED})
    assert cut.status_code == 200
    assert len(cut.json()["profiles"]) == 2
    again = await identity_client.post("/v1/identity/cut", json={"a": PHONE, "b": COOKIE, **SIGNED})
    assert again.status_code == 409
    assert again.json()["error"]["reason"] == "nothing_to_cut"
    why = (await identity_client.post("/v1/identity/why", json={"a": PHONE, "b": COOKIE})).json()
    assert why["reasons"][0]["decision"]["by"] == TOKEN_NAME
    undo = {"operation": cut.json()["operation"], **SIGNED}
    back = await identity_client.post("/v1/identity/undo", json=undo)
    assert back.status_code == 200
    assert len(back.json()["profiles"]) == 1
    twice = await identity_client.post("/v1/identity/undo", json=undo)
    assert twice.status_code == 409
    assert twice.json()["error"]["reason"] == "nothing_to_undo"


async def test_a_profile_is_split_and_what_is_not_applied_yet_is_only_accepted(
    world: IdentityWorld, identity_client: httpx.AsyncClient
) -> None:
    body = {"profile": COOKIE, "move": [PHONE], **SIGNED}
    split = await identity_client.post("/v1/identity/split", json=body)
    assert split.status_code == 200
    assert sorted(len(profile["identifiers"]) for profile in split.json()["profiles"]) == [1, 2]
    world.pipeline_producer.agents_paused = True
    undo = await identity_client.post("/v1/identity/undo", json={"operation": split.json()["operation"], **SIGNED})
    assert undo.status_code == 202
    assert undo.json()["applied"] is False


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("cut", {"a": PHONE, "b": "email:ánh@shop.vn", **SIGNED}, 409, "nothing_to_cut"),
        ("cut", {"a": PHONE, "b": "user_id:bí-mật", **SIGNED}, 404, "unknown_identifier"),
        ("cut", {"a": PHONE, "b": "bí-mật", **SIGNED}, 400, "malformed"),
        ("cut", {"a": PHONE, "b": COOKIE, "by": "bí-mật", **SIGNED}, 400, "bad_body"),
        ("cut", {"a": PHONE, "b": COOKIE, "reason": " "}, 400, "unusable_value"),
        ("cut", {"a": PHONE, "b": COOKIE}, 400, "bad_body"),
        ("cut", {"a": PHONE, "b": COOKIE, "bí-mật": 1, **SIGNED}, 400, "bad_body"),
        ("cut", ["bí-mật"], 400, "bad_body"),
        ("split", {"profile": COOKIE, **SIGNED}, 400, "malformed"),
        ("split", {"profile": COOKIE, "move": ["user_id:bí-mật"], **SIGNED}, 400, "not_a_member"),
        ("split", {"profile": COOKIE, "keep": [COOKIE, PHONE, "email:ánh@shop.vn"], **SIGNED}, 400, "empty_part"),
        ("split", {"profile": "user_id:bí-mật", "keep": [COOKIE], **SIGNED}, 404, "unknown_identifier"),
        ("undo", {"operation": "bí-mật", **SIGNED}, 400, "malformed"),
        ("undo", {"operation": "op-" + "0" * 14, **SIGNED}, 404, "unknown_operation"),
    ],
)
async def test_refused_decision_states_its_reason(
    identity_client: httpx.AsyncClient, path: str, body: Any, status: int, reason: str
) -> None:
    response = await identity_client.post(f"/v1/identity/{path}", json=body)
    assert response.status_code == status
    assert response.json()["error"]["reason"] == reason
    assert "bí-mật" not in response.text


async def test_bodies_are_json_of_a_limited_size(identity_client: httpx.AsyncClient) -> None:
    response = await identity_client.post("/v1/identity/cut", content=b"{")
    assert response.status_code == 400
    assert response.json()["error"]["reason"] == "bad_body"
    response = await identity_client.post("/v1/identity/cut", content=b"\xff")
    assert response.status_code == 400
    assert response.json()["error"]["reason"] == "bad_body"
    response = await identity_client.post("/v1/identity/cut", content=b" " * (MAX_BODY_BYTES + 1))
    assert response.status_code == 413
    assert response.json()["error"]["reason"] == "too_large"
    assert (await identity_client.get("/v1/identity/cut")).status_code == 405
    assert (await identity_client.post("/v1/identity/why?a=" + "x" * 10_000)).status_code == 414


async def test_without_the_broker_or_clickhouse_reads_work_and_decisions_do_not(
    world: IdentityWorld, identity_client: httpx.AsyncClient
) -> None:
    world.broker, world.reads.away = "away", True
    why = await identity_client.post("/v1/identity/why", json={"a": PHONE, "b": COOKIE})
    assert why.status_code == 200
    assert why.json()["history"] is False
    assert (await lookup(identity_client, COOKIE)).status_code == 200
    assert (await identity_client.post("/v1/identity/cut", json={"a": PHONE, "b": COOKIE, **SIGNED})).status_code == 503
    assert (await identity_client.post("/v1/identity/undo", json={"operation": "op-" + "0" * 14, **SIGNED})).status_code == 503


async def test_nothing_is_decided_by_rules_that_are_not_known_yet(world: IdentityWorld) -> None:
    unsure = replace(world.service, rules_known=lambda: False)
    transport = httpx.ASGITransport(Api(ProfileReader(SETTINGS, world.pipeline.store), gate_for(), unsure).application())
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=BEARER) as client:
        why = await client.post("/v1/identity/why", json={"a": PHONE, "b": COOKIE})
        assert why.status_code == 200
        assert why.json()["rules_known"] is False
        assert (await client.post("/v1/identity/cut", json={"a": PHONE, "b": COOKIE, **SIGNED})).status_code == 503


async def test_a_profile_shows_its_accounts_and_its_household_without_the_private_traits_of_others() -> None:
    spec = IdentityRulesSpec(household=HouseholdRules(address_trait="address", shared_traits=("address",)))
    rules = CompiledIdentityRules.from_spec(spec, secret=b"test-secret", country="VN")
    pipeline = Pipeline(random.Random(1), rules=rules)
    home = "Số 12 đường Trần Hưng Đạo, P.5, TP. Huế"
    for number, (name, address) in enumerate((("An", home), ("Bình", "12 tran hung dao, phuong 5, hue"))):
        traits = {"name": f"Nguyễn {name}", "address": address}
        pipeline.feed(event({"user_id": f"u{number}"}, id=f"i{number}", type="identify", traits=traits))
    group = {"groupId": "công-ty-1"}
    pipeline.feed(event({"user_id": "u0"}, id="g", type="group", properties=group, traits={"plan": "doanh nghiệp"}))
    await pipeline.drain()
    settings = pipeline.settings
    reader = ProfileReader(settings, pipeline.store, lambda: rules)
    found = await reader.by_id(event({"user_id": "u0"}, id="any").owner)
    assert found is not None
    [account] = found["accounts"]
    assert account["group_id"] == "công-ty-1"
    assert account["traits"] == {"plan": "doanh nghiệp"}
    assert account["members"] == 1
    assert found["household"]["members"] == 2
    assert set(found["household"]["traits"]) == {"address"}
    alone = await ProfileReader(settings, pipeline.store).by_id(event({"user_id": "u1"}, id="any").owner)
    assert alone is not None
    assert alone["accounts"] == []
    assert alone["household"] is None
