import gzip
import json
from typing import Any

import pytest

from tests.support.collector_harness import collector_harness

CUSTOMERS = """Mã khách hàng;Họ và tên;Số điện thoại;E-mail;Địa chỉ;Quận/Huyện;Tỉnh/Thành phố;Ngày sinh;Giới tính;Hạng thẻ
KH-1;Nguyễn Thị Ánh;0912 345 678;Anh@Thu.VN;27/4 Lê Văn Sỹ;Quận 3;Thành phố Hồ Chí Minh;15/06/1990;Nữ;Vàng
KH-2;"Công ty ""Hoa Sen""
(chi nhánh Huế)";;ketoan@hoasen.vn;1 Lê Lợi;;Huế;;;
"""
EVENTS = """Mã đơn hàng,Ngày mua,SĐT,Tên sản phẩm,Số lượng,Đơn giá,Tổng tiền,Ghi chú
DH-1,15/06/2025 14:30,0912345678,Áo dài lụa Hà Đông,1,1.850.000,"1.850.000 ₫",
DH-2,2025-06-15T14:30:00Z,0912345678,Nón lá,2,"120,000","240,000.50",giao trước Tết
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + b"x" * 50, "save it as CSV UTF-8"), (b"\xd0\xcf\x11\xe0" + b"x" * 50, "save it as CSV UTF-8"),
        (b"%PDF-1.7", "export the table"), (b'[{"id": 1}]', "JSON array"), (b"id\n", "no rows"),
        (b'id,"name\nK', "column 2, character 4"),
    ],
)  # fmt: skip
async def test_a_body_that_is_no_file_of_rows_is_refused_with_the_cure(content: bytes, message: str) -> None:
    async with collector_harness() as at:
        answer = await at.post("/v1/import/customers", content=content)
        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_file"
        assert message in answer.json()["message"]
        assert await at.events() == []
        assert await at.quarantined() == []


@pytest.mark.parametrize("pack", [lambda raw: raw, gzip.compress])
async def test_import_endpoint_stores_rows_and_names_rejected_ones(pack: Any) -> None:
    text = EVENTS + "DH-4,15/06/2025,null,,,,,\nDH-5,,0912345678,,,,nhiều,\n"
    async with collector_harness() as at:
        answer = await at.post("/v1/import/events?timezone=Asia/Ho_Chi_Minh&event=Mua+hàng", content=pack(text.encode()))
        assert answer.status_code == 200
        said = answer.json()
        assert said["rows"] == 4
        assert said["accepted"] == 2
        assert said["quarantined"] == 2
        assert [(r["line"], r["index"], r["reason"], r["path"]) for r in said["results"]] == [
            (4, 2, "no_identifier", ""), (5, 3, "wrong_type", "properties.total"),
        ]  # fmt: skip
        assert answer.headers["x-onefold-result"].startswith("accepted=2; quarantined=2")
        events = await at.events()
        assert {event.name for event in events} == {"Mua hàng"}
        assert {event.identifiers for event in events} == {(("phone", "+84912345678"),)}
        raws = [raw for _, raw in await at.quarantined()]
        assert "DH-5,,0912345678,,,,nhiều,".encode() in raws
        assert any(json.loads(raw)["properties"] == {"order_id": "DH-4"} for raw in raws if raw.startswith(b"{"))


async def test_the_same_body_again_makes_the_same_events() -> None:
    async with collector_harness() as at:
        for _ in range(2):
            at.clock.advance(60_000)
            assert (await at.post("/v1/import/customers", content=CUSTOMERS.encode())).json()["accepted"] == 2
        ids = [event.id for event in await at.events()]
        assert len(ids) == 4
        assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("path", "content", "auth", "status", "code"),
    [
        ("/v1/import/people", b"id\n1\n", True, 404, "not_found"),
        ("/v1/import/customers", b"id\n1\n", False, 401, "invalid_write_key"),
        ("/v1/import/customers?timezone=Mars", b"id\n1\n", True, 400, "invalid_query"),
        ("/v1/import/customers", b"\x1f\x8bno", True, 400, "invalid_gzip"),
        ("/v1/import/customers", b"id\n" + b"1\n" * 20_000, True, 413, "too_many_events"),
        ("/v1/import/customers", b"id\r" + b"1\r" * 20_000, True, 413, "too_many_events"),
        ("/v1/import/customers", b"x" * (4 * 1024 * 1024 + 1), True, 413, "too_large"),
    ],
)
async def test_refused_import_body_states_its_reason(path: str, content: bytes, auth: bool, status: int, code: str) -> None:
    async with collector_harness() as at:
        answer = await at.post(path, content=content, **({} if auth else {"auth": None}))
        assert answer.status_code == status
        assert answer.json()["code"] == code
        assert await at.events() == []


async def test_import_without_a_broker_answers_retryable() -> None:
    async with collector_harness(away=True) as at:
        assert (await at.post("/v1/import/customers", content=CUSTOMERS.encode())).status_code == 503
