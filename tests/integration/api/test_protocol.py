"""What a client may do to the API's sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import orjson

from api.app import Api
from ops.profile_reader import ProfileReader
from profile_store.memory import MemoryStore
from runtime.clock import ManualClock
from runtime.http.limits import HttpLimits
from runtime.settings import Settings
from tests.support.api_tokens import BEARER, gate_for
from tests.support.http_port import PATIENT, Port, served

HEAD = b"POST /v1/profiles/lookup HTTP/1.1\r\nHost: x\r\n"
AUTHORISED = HEAD + f"Authorization: {BEARER['Authorization']}\r\n".encode()


@asynccontextmanager
async def api_port(limits: HttpLimits) -> AsyncIterator[Port]:
    application = Api(ProfileReader(Settings(), MemoryStore(ManualClock())), gate_for()).application()
    async with served(application, limits) as port:
        yield port


async def test_half_sent_headers_are_closed() -> None:
    async with api_port(replace(PATIENT, headers_timeout_s=0.05)) as port:
        assert await port.trickle(HEAD + b"X: ", b"a") == b""


async def test_a_trickling_body_is_closed_with_a_token_and_without() -> None:
    async with api_port(replace(PATIENT, body_timeout_s=0.05)) as port:
        for head, status in ((HEAD, b"401"), (AUTHORISED, b"408")):
            answer = await port.trickle(head + b"Content-Length: 100000\r\n\r\n", b" ")
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert answer.count(b"HTTP/1.1 ") == 1
            assert set(orjson.loads(answer.partition(b"\r\n\r\n")[2])) == {"error"}
        assert port.closed == {"body": 2}


async def test_1100_connections_without_a_token_do_not_shut_out_a_client_with_one() -> None:
    async with api_port(replace(PATIENT, max_connections=1_024, max_unproven_per_peer=256)) as port:
        flood = await port.flood(1_100, HEAD + b"X: ")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port.number}", headers=BEARER) as http:
            assert (await http.post("/v1/profiles/lookup", json={"profile": "user_id:nobody"})).status_code == 404
        for writer in flood:
            writer.close()
