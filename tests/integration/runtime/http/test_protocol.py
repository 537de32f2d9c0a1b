"""What clients may do to a port: half-sent headers, trickling bodies, unread answers, idle connections, floods. Real sockets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from runtime.http.connections import prove_connection
from tests.support.http_port import PATIENT, WITHIN_S, read_all, served
from tests.support.polling import eventually_async

SHORT_S: Final = 0.05
POST: Final = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
GET: Final = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
KEY: Final = b"Authorization: key\r\n"


@dataclass
class Reader:
    """An application that answers how long the body was, `early` before it has read it. A header `authorization` is a valid key."""

    early: bool = False
    requests: int = 0
    bodies: list[int] = field(default_factory=list)
    """The length of each body; -1 for one that did not come whole."""

    def app(self) -> Starlette:
        routes = [Route("/", self._answer, methods=["GET", "POST"]), Route("/download", self._download)]
        return Starlette(routes=routes)

    async def _answer(self, request: Request) -> Response:
        self.requests += 1
        if "authorization" in request.headers:
            prove_connection(request.scope)
        if self.early:
            return PlainTextResponse("early", 401)
        try:
            self.bodies.append(len(await request.body()))
        except ClientDisconnect:
            self.bodies.append(-1)
        return PlainTextResponse(str(self.bodies[-1]))

    async def _download(self, _: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(1_000):
                yield b"x" * 100_000

        return StreamingResponse(chunks())


@pytest.mark.parametrize(
    "request_bytes",
    [GET, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", b"no HTTP\r\n\r\n"],
)
async def test_no_answer_lets_a_browser_guess_what_it_is(request_bytes: bytes) -> None:
    async with served(Reader().app(), PATIENT) as port:
        reader, writer = await port.open()
        writer.write(request_bytes)
        async with asyncio.timeout(WITHIN_S):
            answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert answer.startswith(b"HTTP/1.1 ")
        assert b"x-content-type-options: nosniff" in answer.lower()


@pytest.mark.parametrize("head", [b"", b"GET /", b"GET / HTTP/1.1\r\nX: "])
async def test_headers_that_do_not_become_whole_close_the_connection(head: bytes) -> None:
    async with served(Reader().app(), replace(PATIENT, headers_timeout_s=SHORT_S)) as port:
        assert await port.trickle(head, b"a" if head else b"") == b""
        assert port.closed == {"headers": 1}


async def test_blank_lines_between_requests_do_not_keep_a_connection() -> None:
    async with served(Reader().app(), replace(PATIENT, headers_timeout_s=SHORT_S)) as port:
        answer = await port.trickle(GET, b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert port.closed == {"headers": 1}


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (POST + b"\r\n", b"x"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
    ],
)
async def test_a_trickling_body_is_answered_408_and_closed(head: bytes, piece: bytes) -> None:
    application = Reader()
    async with served(application.app(), replace(PATIENT, body_timeout_s=SHORT_S, max_body_bytes=1_000_000_000)) as port:
        assert (await port.trickle(head.replace(b"1000", b"1000000"), piece)).startswith(b"HTTP/1.1 408 ")
        assert application.bodies == [-1]
        assert port.closed == {"body": 1}


async def test_a_body_that_trickles_on_after_its_answer_is_closed_too() -> None:
    async with served(Reader(early=True).app(), replace(PATIENT, body_timeout_s=SHORT_S)) as port:
        answer = await port.trickle(POST.replace(b"1000", b"900000") + b"\r\n", b"x")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert port.closed == {"body": 1}


async def test_a_body_that_comes_fast_enough_may_take_longer_than_the_deadline() -> None:
    limits = replace(PATIENT, body_timeout_s=SHORT_S, min_body_bytes_per_s=1)
    application = Reader()
    async with served(application.app(), limits) as port:
        reader, writer = await port.open()
        loop = asyncio.get_running_loop()
        writer.write(POST + b"\r\n" + b"x" * 500)
        begun_s = loop.time()
        await eventually_async(lambda: loop.time() > begun_s + 5 * SHORT_S, within_s=WITHIN_S, every_s=0.005)
        writer.write(b"x" * 500)
        assert (await reader.readuntil(b"1000")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert application.bodies == [1_000]


@pytest.mark.parametrize("early", [False, True])
async def test_an_idle_connection_is_closed_also_when_it_was_answered_before_its_body_had_come(early: bool) -> None:
    async with served(Reader(early=early).app(), replace(PATIENT, idle_timeout_s=SHORT_S)) as port:
        reader, writer = await port.open()
        writer.write(POST + b"\r\n")
        if early:
            await reader.readuntil(b"early")
        writer.write(b"x" * 1_000)
        assert (await read_all(reader)).startswith(b"" if early else b"HTTP/1.1 200 ")
        writer.close()


async def test_a_second_request_that_stays_half_sent_is_closed() -> None:
    async with served(Reader().app(), replace(PATIENT, headers_timeout_s=SHORT_S)) as port:
        answer = await port.trickle(GET + GET + b"GET / HTTP/1.1\r\nX: ", b"a")
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert port.closed == {"headers": 1}


async def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    async with served(Reader().app(), replace(PATIENT, write_timeout_s=SHORT_S)) as port:
        reader, writer = await port.open()
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # the client is one that does not read
        writer.write(b"GET /download HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually_async(lambda: port.closed["answer"] == 1, within_s=WITHIN_S, every_s=0.005)
        writer.close()


async def test_1100_connections_without_a_key_do_not_shut_out_a_client_with_one() -> None:
    limits = replace(PATIENT, max_connections=1_024, max_unproven_per_peer=256)
    application = Reader()
    async with served(application.app(), limits) as port:
        flood = [w for sent in (b"", b"GET / HTTP/1.1\r\nX: ", POST + b"\r\nx") for w in await port.flood(367, sent)]
        reader, writer = await port.open()
        writer.write(POST + KEY + b"\r\n" + b"x" * 1_000)
        assert (await reader.readuntil(b"1000")).startswith(b"HTTP/1.1 200 ")
        assert application.bodies[-1] == 1_000
        for opened in (*flood, writer):
            opened.close()
        assert port.closed["no_room"] >= 1_100 - 256


async def test_a_flood_does_not_interrupt_an_upload_whose_key_was_seen() -> None:
    async with served(Reader().app(), replace(PATIENT, max_connections=8, max_unproven_per_peer=8)) as port:
        reader, writer = await port.open()
        writer.write(POST + KEY + b"Expect: 100-continue\r\n\r\n")
        await reader.readuntil(b"100 Continue\r\n\r\n")  # the application has seen the key
        flood = await port.flood(50, b"")
        await eventually_async(lambda: port.closed["no_room"] >= 50 - 7, within_s=WITHIN_S, every_s=0.005)
        writer.write(b"x" * 1_000)
        assert (await reader.readuntil(b"1000")).startswith(b"HTTP/1.1 200 ")
        for opened in (*flood, writer):
            opened.close()


async def test_a_request_that_gives_way_is_told_to_come_again() -> None:
    application = Reader()
    async with served(application.app(), replace(PATIENT, max_connections=1, max_unproven_per_peer=1)) as port:
        reader, writer = await port.open()
        writer.write(POST + b"\r\nx")
        await eventually_async(lambda: application.requests == 1, within_s=WITHIN_S, every_s=0.005)
        _, second = await port.open()
        answer = await read_all(reader)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in answer
        writer.close()
        second.close()


async def test_a_port_that_takes_one_request_at_a_time_sees_its_client_leave_behind_a_second_one() -> None:
    left = asyncio.Event()

    async def application(_scope: Any, receive: Any, _send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    async with served(application, PATIENT, takes_pipelined=False) as port:
        reader, writer = await port.open()
        writer.write(GET + GET)
        assert await read_all(reader) == b""
        async with asyncio.timeout(WITHIN_S):
            await left.wait()
        writer.close()
