"""The API's OpenAPI document against its routes and its answers."""

import json
import re
from typing import Any, cast

import httpx
from jsonschema import Draft202012Validator

from api.app import Api
from api.openapi import OPERATIONS
from domain.profiles.membership import Membership, SegmentState
from ops.profile_reader import ProfileReader
from profile_store.memory import MemoryStore
from runtime.clock import ManualClock
from tests.support.api_tokens import BEARER, gate_for
from tests.support.events import START_MS, event
from tests.unit.api.test_api import SETTINGS, lookup, put


def client_of(store: MemoryStore) -> httpx.AsyncClient:
    """Return a client of an API that has all routes; the services behind the others than profiles answer nothing."""
    anything = cast("Any", object())
    application = Api(ProfileReader(SETTINGS, store), gate_for(), anything, anything, anything, anything).application()
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://api", headers=BEARER)


async def test_every_address_is_described_and_every_reference_leads_somewhere() -> None:
    async with client_of(MemoryStore(ManualClock())) as client:
        document = (await client.get("/openapi.json")).json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described >= OPERATIONS.keys()
    assert all(document["paths"][path][method.lower()]["summary"] for method, path in described)
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            in_path = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))


async def test_a_profile_is_as_the_document_says() -> None:
    store = MemoryStore(ManualClock())
    vip = Membership(segments={"vip": SegmentState(True, 1, START_MS)}, computed={"lifecycle": "lead"})
    await put(store, event({"user_id": "u1", "email": "ánh@ví-dụ.vn"}, id="m1", name="Đặt hàng"), membership=vip)
    async with client_of(store) as client:
        document = (await client.get("/openapi.json")).json()
        profile = (await lookup(client, "user_id:u1")).json()
        refusal = (await lookup(client, "user_id:nobody")).json()
    schemas = json.loads(json.dumps(document["components"]["schemas"]).replace("#/components/schemas/", "#/$defs/"))
    for name, answer in (("ProfileAnswer", profile), ("ErrorAnswer", refusal)):
        Draft202012Validator({**schemas[name], "$defs": schemas}).validate(answer)
        assert answer.keys() == schemas[name]["properties"].keys()
