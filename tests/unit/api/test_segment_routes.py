"""Why in a segment, over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from api.app import Api
from domain.definitions.kinds import Segment, load_yaml
from ops.profile_reader import ProfileReader
from tests.support.api_tokens import BEARER, gate_for
from tests.support.events import START_MS, event
from tests.support.explain_world import ExplainWorld

DEFINITION = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: xem-hang}
spec: {where: {did: {event: Xem hàng, within: 1d}}}
"""
SEGMENTS = [one for one in load_yaml(DEFINITION, "test") if isinstance(one, Segment)]


@pytest.fixture
async def explain_world() -> ExplainWorld:
    made = ExplainWorld(SEGMENTS)
    made.pipeline.clock.advance(max(0, START_MS - made.pipeline.clock.now_ms()))
    at = made.pipeline.clock.now_ms()
    await made.process_events(event({"email": "ánh@shop.vn", "anonymous_id": "máy-1"}, id="m1", name="Xem hàng", time_ms=at))
    return made


def client_of(explain_world: ExplainWorld, **changed: object) -> httpx.AsyncClient:
    asked = replace(explain_world.asked, **changed)  # type: ignore[arg-type]  # a field of it
    api = Api(ProfileReader(asked.settings, asked.store), gate_for(), segment_explainer=asked)
    transport = httpx.ASGITransport(api.application(), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=BEARER)


@pytest.fixture
async def client(explain_world: ExplainWorld) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(explain_world) as client:
        yield client


async def test_api_and_command_give_the_same_explanation(explain_world: ExplainWorld, client: httpx.AsyncClient) -> None:
    ask = {"profile": "email:ánh@shop.vn", "segment": "xem-hang"}
    response = await client.post("/v1/segments/why", json=ask)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    found = response.json()
    assert found == await explain_world.asked.why(*ask.values())
    assert found["member"] is True
    assert found["tree"]["events"][0]["shown"][0]["id"] == "m1"
    by_id = await client.post("/v1/segments/why", json={**ask, "profile": found["profile_id"]})
    assert by_id.json() == found


async def test_explanation_without_a_segment_covers_all_segments(explain_world: ExplainWorld, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/segments/why", json={"profile": "anonymous_id:máy-1"})
    assert response.json() == await explain_world.asked.overview("anonymous_id:máy-1")
    assert [(row["name"], row["member"]) for row in response.json()["segments"]] == [("xem-hang", True)]


@pytest.mark.parametrize(
    ("profile", "segment", "status", "reason"),
    [
        ("email:bí-mật@shop.vn", "xem-hang", 404, "unknown_identifier"),
        ("email:ánh@shop.vn", "bí-mật", 404, "unknown_segment"),
        ("zodiac:bí-mật", "xem-hang", 400, "unknown_namespace"),
        ("email", "", 400, "malformed"),
        ("", "", 400, "bad_body"),
    ],
)
async def test_unanswerable_request_states_its_reason(
    client: httpx.AsyncClient, profile: str, segment: str, status: int, reason: str
) -> None:
    response = await client.post("/v1/segments/why", json={"profile": profile, "segment": segment})
    assert response.status_code == status
    assert response.json()["error"]["reason"] == reason
    assert "bí-mật" not in response.text


async def test_explanation_needs_loaded_definitions(explain_world: ExplainWorld, client: httpx.AsyncClient) -> None:
    ask = {"profile": "email:ánh@shop.vn", "segment": "xem-hang"}
    assert (await client.get("/v1/segments/why", params=ask)).status_code == 405
    async with client_of(explain_world, definitions_loaded=lambda: False) as early:
        assert (await early.post("/v1/segments/why", json=ask)).status_code == 503


async def test_without_clickhouse_it_answers_from_the_profile_alone(explain_world: ExplainWorld, client: httpx.AsyncClient) -> None:
    explain_world.told.away = True
    found = (await client.post("/v1/segments/why", json={"profile": "anonymous_id:máy-1", "segment": "xem-hang"})).json()
    assert found["member"] is True
    assert found["history"] is False
