"""How the text of a request becomes a statement and its data, however the body is cut into pieces."""

from collections.abc import AsyncGenerator

import pytest

from embedded.clickhouse import app
from embedded.clickhouse.protocol import QueryRequest
from embedded.clickhouse.statement_scan import Incomplete, InsertHead, insert_head

REQUEST = QueryRequest("POST", "/", {}, (), {}, "id")
INSERT = b"INSERT INTO a (x) FORMAT JSONEachRow\n"
DATA = '{"x": "Huế"}\n'.encode()


async def pieces(body: bytes, size: int) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 7, 36, 37, 1_000])
async def test_an_insert_is_the_same_however_it_comes(size: int) -> None:
    rest = pieces(INSERT + DATA * 5, size)
    statement, head, data = await app._read_statement(REQUEST, rest)
    assert statement == "INSERT INTO a (x)"
    assert head is not None
    assert head.format == "JSONEachRow"
    assert data + b"".join([piece async for piece in rest]) == DATA * 5


async def test_a_body_in_single_bytes_is_scanned_a_few_times_and_not_once_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = 0

    def counting(text: str, *, is_complete: bool) -> InsertHead | Incomplete | None:
        nonlocal scanned
        scanned += len(text)
        return insert_head(text, is_complete=is_complete)

    monkeypatch.setattr(app, "insert_head", counting)
    body = b"INSERT INTO a (" + b"x, " * 3_000 + b"x) SELECT 1"
    await app._read_statement(REQUEST, pieces(body, 1))
    assert scanned < 4 * len(body)
