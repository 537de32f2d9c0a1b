"""The profile API over the store's twin."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from ops.api.app import Api
from ops.api.view import ProfileReader
from profile_store import memberships, model
from profile_store.memberships import Membership, SegmentState
from profile_store.memory import MemoryStore
from profile_store.port import Document, Kind, Label, Members, Place, Writes
from runtime.clock import ManualClock
from runtime.errors import Transient
from runtime.settings import Settings
from segments.plan import Plan
from tests.support.events import START_MS, event

SETTINGS = Settings(tenant_secret="test-secret", api_token="a-token-of-some-length")
PLACE = Place("events", 0, 1)
BEARER = {"Authorization": "Bearer a-token-of-some-length"}


async def put(store: MemoryStore, *events: Any, membership: Membership | None = None) -> list[str]:
    """Events applied to one fragment each; all owners made members of one profile. Returns the members."""
    documents: dict[tuple[Kind, str], Document] = {}
    nodes: set[str] = set()
    for said in events:
        fragment = model.Fragment()
        model.apply(fragment, said, Plan(()))
        documents["fragment", said.owner] = Document(model.encode(fragment), PLACE.name, 1)
        nodes |= set(said.nodes)
    members = sorted(nodes)
    if membership is not None:
        documents["membership", members[0]] = Document(memberships.encode(membership), "", 1)
    labels = {node: Label(members[0], 1) for node in members}
    await store.save(PLACE, None, 1, Writes(documents, labels, {members[0]: Members(tuple(members), 1)}))
    return members


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Api(ProfileReader(SETTINGS, store)).application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=BEARER) as client:
        yield client


async def test_any_identifier_leads_to_the_joined_profile(store: MemoryStore, client: httpx.AsyncClient) -> None:
    known = Membership(segments={"vip": SegmentState(True, 3, START_MS), "lapsed": SegmentState(False, 2, START_MS)})
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
    first = await client.get("/v1/profiles/anonymous_id:cookie-1")
    assert first.status_code == 200
    body = first.json()
    assert body["profile_id"] == members[0]
    assert body["traits"] == {"name": "Nguyễn Thị Ánh"}
    assert body["counters"] == {"$identify": 1, "Xem hàng": 1}
    assert body["segments"] == [{"name": "vip", "since": body["first_seen"]}]
    assert body["members"] == members
    assert {"namespace": "user_id", "value": "u1"} in body["identifiers"]
    for path in ("/v1/profiles/user_id:u1", f"/v1/profiles/id/{members[0]}", f"/v1/profiles/id/{members[1]}"):
        assert (await client.get(path)).json() == body


async def test_a_value_is_normalised_before_it_is_looked_up(store: MemoryStore, client: httpx.AsyncClient) -> None:
    await put(store, event({"phone": "+84912345678"}, id="m1"))
    assert (await client.get("/v1/profiles/phone:0912 345 678")).status_code == 200


async def test_values_with_slashes_and_colons_are_taken_whole(store: MemoryStore, client: httpx.AsyncClient) -> None:
    await put(store, event({"user_id": "a/b:c"}, id="m1"))
    assert (await client.get("/v1/profiles/user_id:a%2Fb:c")).status_code == 200
    assert (await client.get("/v1/profiles/user_id:a/b:c")).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/v1/profiles/user_id:nobody", 404, "unknown_profile"),
        ("/v1/profiles/id/0" + "a" * 31, 404, "unknown_profile"),
        ("/v1/profiles/id/nonsense", 400, "unusable_value"),
        ("/v1/profiles/zodiac:lion", 400, "unknown_namespace"),
        ("/v1/profiles/user_id", 400, "malformed"),
        ("/v1/profiles/email:not-one", 400, "unusable_value"),
        ("/v1/profiles/user_id:null", 400, "unusable_value"),
        ("/v2/profiles", 404, "unknown_path"),
    ],
)
async def test_what_cannot_be_answered_says_why_in_json(client: httpx.AsyncClient, path: str, status: int, reason: str) -> None:
    response = await client.get(path)
    assert response.status_code == status
    assert response.json()["error"]["reason"] == reason
    if reason == "unknown_namespace":
        assert "anonymous_id" in response.json()["error"]["message"]


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic a-token-of-some-length", "Bearer", "Bearer á"])
async def test_nobody_reads_without_the_token(client: httpx.AsyncClient, header: str) -> None:
    response = await client.get("/v1/profiles/user_id:u1", headers=[(b"Authorization", header.encode())])
    assert response.status_code == 401
    assert response.json()["error"]["reason"] == "unauthorised"


class Away(MemoryStore):
    async def labels(self, nodes: Any) -> dict[str, Label]:
        raise Transient(f"no answer about {len(nodes)} nodes")


class Broken(MemoryStore):
    async def labels(self, nodes: Any) -> dict[str, Label]:
        raise RuntimeError(str(nodes))


@pytest.mark.parametrize(("kind", "status"), [(Away, 503), (Broken, 500)])
async def test_a_store_that_fails_is_not_the_callers_fault(kind: type[MemoryStore], status: int) -> None:
    transport = httpx.ASGITransport(Api(ProfileReader(SETTINGS, kind(ManualClock()))).application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=BEARER) as client:
        response = await client.get("/v1/profiles/user_id:u1")
    assert response.status_code == status
    assert set(response.json()) == {"error"}
