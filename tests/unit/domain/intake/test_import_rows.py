import io
import json
import re
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.intake.import_columns import ImportKind, ImportMapping, fold_column_name
from domain.intake.import_lines import FileRefused, detect_encoding
from domain.intake.import_orders import ImportRow
from domain.intake.import_rows import MAX_ROW_CHARS, read_rows
from domain.intake.rejection import Rejection
from schemas.reasons import Reason

HANOI = ImportMapping(timezone="Asia/Ho_Chi_Minh")
CUSTOMERS = """Mã khách hàng;Họ và tên;Số điện thoại;E-mail;Địa chỉ;Quận/Huyện;Tỉnh/Thành phố;Ngày sinh;Giới tính;Hạng thẻ
KH-1;Nguyễn Thị Ánh;0912 345 678;Anh@Thu.VN;27/4 Lê Văn Sỹ;Quận 3;Thành phố Hồ Chí Minh;15/06/1990;Nữ;Vàng
KH-2;"Công ty ""Hoa Sen""
(chi nhánh Huế)";;ketoan@hoasen.vn;1 Lê Lợi;;Huế;;;
"""
EVENTS = """Mã đơn hàng,Ngày mua,SĐT,Tên sản phẩm,Số lượng,Đơn giá,Tổng tiền,Ghi chú
DH-1,15/06/2025 14:30,0912345678,Áo dài lụa Hà Đông,1,1.850.000,"1.850.000 ₫",
DH-2,2025-06-15T14:30:00Z,0912345678,Nón lá,2,"120,000","240,000.50",giao trước Tết
"""


def read(kind: ImportKind, text: str, mapping: ImportMapping = HANOI) -> list[ImportRow]:
    return list(read_rows(kind, iter(io.StringIO(text, newline="")), mapping))


def calls(kind: ImportKind, text: str, mapping: ImportMapping = HANOI) -> list[dict[str, Any]]:
    found = []
    for row in read(kind, text, mapping):
        assert isinstance(row.call, dict), row
        found.append({name: value for name, value in row.call.items() if name != "messageId"})
    return found


def refused(kind: ImportKind, text: str, mapping: ImportMapping = HANOI) -> list[tuple[int, str, str]]:
    return [(r.line, r.call.reason.value, r.call.path) for r in read(kind, text, mapping) if isinstance(r.call, Rejection)]


def test_customers_with_vietnamese_columns() -> None:
    first, second = calls("customers", CUSTOMERS)
    assert first == {
        "type": "identify",
        "identifiers": {"user_id": "KH-1"},
        "traits": {
            "name": "Nguyễn Thị Ánh",
            "phone": "0912 345 678",
            "email": "Anh@Thu.VN",
            "address": {"street": "27/4 Lê Văn Sỹ", "district": "Quận 3", "city": "Thành phố Hồ Chí Minh"},
            "birthday": "1990-06-15",
            "gender": "Nữ",
            "Hạng thẻ": "Vàng",
        },
    }
    assert second["traits"]["name"] == 'Công ty "Hoa Sen"\n(chi nhánh Huế)'
    assert "phone" not in second["traits"]


def test_past_purchases_have_their_own_time() -> None:
    first, second = calls("events", EVENTS)
    assert first == {
        "type": "track",
        "event": "Order Completed",
        "timestamp": "2025-06-15T07:30:00.000Z",
        "identifiers": {"phone": "0912345678"},
        "properties": {"order_id": "DH-1", "name": "Áo dài lụa Hà Đông", "quantity": 1, "price": 1_850_000, "total": 1_850_000},
    }
    assert second["timestamp"] == "2025-06-15T14:30:00.000Z"
    assert second["properties"] == {
        "order_id": "DH-2", "name": "Nón lá", "quantity": 2, "price": 120_000, "total": 240_000.5, "Ghi chú": "giao trước Tết",
    }  # fmt: skip


def test_jsonl_keeps_its_kinds_and_takes_segments_names() -> None:
    text = (
        '{"userId": 7, "traits": {"name": "Ánh", "vip": true}, "ngày sinh": "1/2/1990", "tags": ["a"], "type": "identify"}\n'
        '\n{"email": "a@thu.vn", "name": null, "age": 30}\n'
    )
    first, second = calls("customers", text)
    assert first == {
        "type": "identify",
        "identifiers": {"user_id": 7},
        "traits": {"name": "Ánh", "vip": True, "birthday": "1990-02-01", "tags": ["a"]},
    }
    assert second["traits"] == {"email": "a@thu.vn", "age": 30}
    (event,) = calls(
        "events", '{"user_id": "u", "event": "Product Viewed", "properties": {"a": 1}, "messageId": "m", "time": 1750000000}'
    )
    assert event["event"] == "Product Viewed"
    assert event["properties"] == {"a": 1}
    assert event["timestamp"] == "2025-06-15T15:06:40.000Z"


def test_a_column_may_hold_identifiers_of_ones_own() -> None:
    mapping = ImportMapping(columns={"Thẻ": "identifiers.loyalty_card"})
    (call,) = calls("customers", "Mã khách hàng,Thẻ,identifiers.zalo_user_id\nK1,4000 1234,839201\n", mapping)
    assert call["identifiers"] == {"user_id": "K1", "loyalty_card": "4000 1234", "zalo_user_id": "839201"}
    with pytest.raises(ValidationError, match="for a namespace of your own"):
        ImportMapping.model_validate({"columns": {"Thẻ": "loyalty_card"}})


def test_explicit_mapping_covers_remaining_columns() -> None:
    mapping = ImportMapping(
        columns={"Ma so": "user_id", "Điểm": "traits.points", "Nội bộ": None, "Mốc": "time"},
        constants={"traits.origin": "cửa hàng Huế"},
        numbers=("traits.points",),
        day_first=False,
        delimiter="#",
    )
    (call,) = calls("customers", "Ma so#Điểm#Nội bộ#Mốc\nK1#1.500#bí mật#6/15/2025\n", mapping)
    assert call == {
        "type": "identify",
        "timestamp": "2025-06-15T00:00:00.000Z",
        "identifiers": {"user_id": "K1"},
        "traits": {"points": 1500, "origin": "cửa hàng Huế"},
    }


def test_a_second_column_of_a_kind_keeps_its_name() -> None:
    (call,) = calls("customers", "id,Điện thoại,Mobile\nK1,0912345678,0987650321\n")
    assert call["traits"] == {"phone": "0912345678", "Mobile": "0987650321"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    text = f'id{delimiter}"a{delimiter}{delimiter};,;,b"{delimiter}email\nK1{delimiter}x{delimiter}a@thu.vn\n'
    (call,) = calls("customers", text)
    assert call["identifiers"] == {"user_id": "K1"}
    assert call["traits"]["email"] == "a@thu.vn"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings(encoding: str, newline: str) -> None:
    raw = CUSTOMERS.replace("\n", newline).encode(encoding)
    text = io.TextIOWrapper(io.BytesIO(raw), *detect_encoding(raw), newline="")
    first, second = (row.call for row in read_rows("customers", iter(text), HANOI))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["identifiers"] == {"user_id": "KH-1"}
    assert first["traits"]["name"] == "Nguyễn Thị Ánh"


def test_rows_that_cannot_be_read_say_where() -> None:
    text = "id,total,Ngày mua\nK1,nhiều,\nK2,5,hôm qua\n\nK3,5,,x\n" + '"K4' + "\nK5,5,\n" * 3
    assert refused("events", text)[:3] == [
        (2, "wrong_type", "properties.total"), (3, "wrong_type", "time"), (5, "wrong_type", ""),
    ]  # fmt: skip
    assert refused("customers", '{"id": 1}\n{nope\n[1]\n{"email": {}}\n') == [
        (2, "unparsable", ""), (3, "not_an_object", ""), (4, "wrong_type", "email"),
    ]  # fmt: skip
    assert refused("customers", b"id,name\nK1,\xc1nh\n".decode("utf-8", "surrogateescape")) == [(2, "unparsable", "")]


def test_a_quotation_mark_left_open_costs_only_what_it_swallows() -> None:
    text = "id,name\n" + 'K0,"' + "".join(f"K{n},{'x' * 100}\n" for n in range(3000))
    found = read("customers", text)
    assert isinstance(found[0].call, Rejection)
    assert found[0].line == 2
    assert found[0].call.reason.value == "unparsable"
    assert len(found) > 1000


def test_message_ids_come_from_content() -> None:
    def ids(text: str) -> list[str]:
        return [row.call["messageId"] for row in read("events", text) if isinstance(row.call, dict)]

    assert ids(EVENTS) == ids(EVENTS.replace("\n", "\r\n"))
    longer = EVENTS + "DH-3,15/06/2025,0912345678,,,,,\n"
    assert ids(longer)[:2] == ids(EVENTS)
    twice = ids("SĐT,total,ngày\n0912345678,5,15/06/2025\n0912345678,5,15/06/2025\n0912345678,6,15/06/2025\n")
    assert len(set(twice)) == 3
    assert twice == ids("SĐT,total,ngày\n0912345678,5,15/06/2025\n0912345678,5,15/06/2025\n0912345678,6,15/06/2025\n")
    assert ids("userId,messageId,date\nK1,m1,2025-06-15\n") == ["m1"]


def test_a_birthday_is_a_day_or_stays_as_it_is() -> None:
    text = "id,ngày sinh\nK1,15/6/1990\nK2,19900615\nK3,1990-06-15 00:00\nK4,mùa thu 1990\nK5,15/06/90\n"
    birthdays = [call["traits"]["birthday"] for call in calls("customers", text)]
    assert birthdays == ["1990-06-15", "1990-06-15", "1990-06-15", "mùa thu 1990", "15/06/90"]
    mapping = ImportMapping(dates={"traits.birthday": "%d/%m/%y"})
    assert calls("customers", "id,ngày sinh\nK5,15/06/90\n", mapping)[0]["traits"]["birthday"] == "1990-06-15"
    assert refused("customers", "id,ngày sinh\nK4,mùa thu 1990\n", mapping) == [(2, "wrong_type", "traits.birthday")]


def test_the_mapping_names_further_dates() -> None:
    mapping = ImportMapping.model_validate({"timezone": "Asia/Ho_Chi_Minh", "dates": ["traits.Hạn thẻ", "traits.Lần gọi"]})
    text = "id,Hạn thẻ,Lần gọi\nK1,31/12/2026,15/06/2025 14:30\nK2,9999-12-31,20250615\nK3,vô hạn,\n"
    first, second = (row.call["traits"] for row in read("customers", text, mapping) if isinstance(row.call, dict))
    assert first == {"Hạn thẻ": "2026-12-31", "Lần gọi": "2025-06-15T07:30:00.000Z"}
    assert second == {"Hạn thẻ": "9999-12-31", "Lần gọi": "2025-06-15"}
    assert refused("customers", text, mapping) == [(4, "wrong_type", "traits.Hạn thẻ")]


def test_all_times_without_a_zone_are_in_the_mappings_zone() -> None:
    text = "id,ngày mua,total\n" + "".join(
        f"K,{written},1\n"
        for written in (
            "20250615",
            "2025-06-15",
            "15/06/2025",
            "2025/06/15",
            "15 Jun 2025",
            "20250615000000",
            "2025-06-15 00:00:00.000",
        )
    )
    assert {call["timestamp"] for call in calls("events", text)} == {"2025-06-14T17:00:00.000Z"}


def test_the_mapping_says_the_decimal_sign() -> None:
    text = "id,ngày mua,total\nK,2025-06-15,1.250\nK,2025-06-15,0.250\n"
    assert [call["properties"]["total"] for call in calls("events", text)] == [1250, 0.25]
    mapping = ImportMapping(decimal=".")
    assert [call["properties"]["total"] for call in calls("events", text, mapping)] == [1.25, 0.25]
    assert refused("events", text, ImportMapping(decimal=",")) == [(3, "wrong_type", "properties.total")]


def test_names_of_columns_are_compared_without_accents() -> None:
    assert fold_column_name(" Số ĐIỆN-thoại (2) ") == "sodienthoai2"


def test_empty_list_where_an_object_is_due_is_absent() -> None:
    objects = ("traits", "context", "identifiers", "properties", "address", "company")
    (call,) = calls("customers", json.dumps({"userId": "K1", **{name: [] for name in objects}, "tags": []}) + "\n")
    assert call == {"type": "identify", "identifiers": {"user_id": "K1"}, "traits": {"tags": []}}


@pytest.mark.parametrize("letter", ["Đ", "đ", "Ð", "ð", "Ɖ", "ɖ"])
def test_letters_that_look_like_the_vietnamese_d_name_the_same_column(letter: str) -> None:
    (call,) = calls("customers", f"id,{letter}iện thoại,{letter}ịa chỉ\nK1,0912345678,27/4 Lê Văn Sỹ\n")
    assert call["traits"] == {"phone": "0912345678", "address": {"street": "27/4 Lê Văn Sỹ"}}


@pytest.mark.parametrize(
    ("kind", "text", "mapping", "message"),
    [
        ("customers", '[{"id": 1}]', {}, "line 1: this is a JSON array"),
        ("customers", '\ufeff[\n {"id": 1}\n]', {}, "line 1: this is a JSON array"),
        ("customers", '{\n "id": 1\n}', {}, "line 1: a JSON object begins and does not end"),
        ("customers", "<html><table>", {}, "line 1: this is HTML"),
        ("customers", "\n \n", {}, "no rows: all of its lines are blank"),
        ("customers", "id,name\n", {}, "no rows: below the header in line 1"),
        ("customers", "\nid,name\n,\n\n", {}, "no rows: below the header in line 2"),
        ("events", "mã KH,total,date,total\nK,1,2025-06-15,2\n", {}, "line 1, column 4: has the name or the field of column 2"),
        ("events", "mã KH,tổng tiền,date,total\nK,1,2025-06-15,2\n", {}, "line 1, column 4: has the name or the field of column 2"),
        ("customers", "id,E-mail,email\nK,a@b.vn,c@d.vn\n", {}, "line 1, column 3: has the name or the field of column 2"),
        ("customers", "id,Điểm,Điểm\nK,1,2\n", {}, "line 1, column 3: has the name or the field of column 2"),
        ("customers",
        "id,Điểm\nK,1\n", {"columns": {"Diem": "traits.points"}}, "`Diem`.*line 1 does not have: column 2 is spelled"),
        ("customers", "id,Điểm\nK,1\n", {"columns": {"Hạng": None}}, "`Hạng`, which the header in line 1 does not have"),
        ("customers", '{"id": 1}\n', {"columns": {"Hạng": "traits.tier"}}, "`Hạng`, which no row of the file has"),
        ("customers", "id,Điểm\nK,1\n", {"numbers": ["traits.points"]}, "numbers of the mapping names traits.points"),
        ("customers", "id,Điểm\nK,1\n", {"dates": {"traits.x": None}}, "dates of the mapping names traits.x"),
        ("events", "mã KH,total\nK,1\n", {}, "no column of the header in line 1 says when the events happened"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_meant_as_it_is_is_refused_whole(
    kind: ImportKind, text: str, mapping: dict[str, Any], message: str
) -> None:
    with pytest.raises(FileRefused, match=message):
        read(kind, text, ImportMapping.model_validate(mapping))


def test_columns_that_are_left_out_may_be_doubled() -> None:
    (call,) = calls("customers", "id,x,x,,\nK,1,2,3,4\n", ImportMapping(columns={"x": None}))
    assert call["traits"] == {"column 4": "3", "column 5": "4"}


def test_two_fields_of_one_line_are_not_dropped() -> None:
    assert refused("events", '{"userId": "u", "date": "2025-06-15", "tổng tiền": 1, "total": 2}\n') == [
        (1, "wrong_type", "properties.total")
    ]


def test_a_past_event_needs_its_time_and_has_no_future() -> None:
    text = "mã KH,đơn,ngày mua\nK,a,15/06/2025\nK,b,\nK,c,15/06/2062\n"
    with_clock = list(read_rows("events", iter(io.StringIO(text, newline="")), HANOI, now_ms=1_750_000_000_000))
    assert [(r.line, r.call.reason.value, r.call.path) for r in with_clock if isinstance(r.call, Rejection)] == [
        (3, "missing_field", "time"), (4, "wrong_type", "time"),
    ]  # fmt: skip
    assert refused("events", '{"userId": "u", "event": "x"}\n') == [(1, "missing_field", "time")]
    (call,) = calls("events", "mã KH,đơn\nK,b\n", ImportMapping(constants={"time": "2025-06-15"}))
    assert call["timestamp"] == "2025-06-15T00:00:00.000Z"


def test_the_id_of_an_event_is_not_the_customers() -> None:
    text = "Id,SĐT,date\n1001,0912345678,2025-06-15\n1002,0912345678,2025-06-15\n"
    assert [call["identifiers"] for call in calls("events", text)] == [{"phone": "0912345678"}] * 2
    assert [call["properties"] for call in calls("events", text)] == [{"Id": "1001"}, {"Id": "1002"}]
    assert calls("customers", "Id\n1001\n")[0]["identifiers"] == {"user_id": "1001"}
    (call,) = calls("events", "Id,date\n1001,2025-06-15\n", ImportMapping(columns={"Id": "user_id"}))
    assert call["identifiers"] == {"user_id": "1001"}


def test_rejections_are_sentences() -> None:
    text = "id,total,date\nK1,nhiều,2025-06-15\n"
    (row,) = read("events", text)
    assert isinstance(row.call, Rejection)
    assert row.call.detail == "cannot be read as a number"
    deep = '{"id": 1, "x": ' + "[" * 40 + "]" * 40 + "}"
    assert [r.call.detail for r in read("customers", deep) if isinstance(r.call, Rejection)] == [
        "the row holds nesting deeper than 32 levels"
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"columns": {"a": "trait.x"}},
        {"columns": {"a": "traits."}},
        {"timezone": "Mars"},
        {"delimiter": ";;"},
        {"colums": {}},
        {"decimal": "x"},
        {"dates": {"time": "%H"}},
        {"dates": ["x.y"]},
    ],
)
def test_a_wrong_mapping_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImportMapping.model_validate(wrong)


@given(st.text(max_size=200) | st.text(alphabet='ab,;"\r\n {}[]', max_size=60), st.sampled_from(["customers", "events"]))
def test_any_text_is_rows_or_is_refused_whole(text: str, kind: ImportKind) -> None:
    mapping = ImportMapping(constants={"time": "2025-06-15"})
    for content in (text, "{" + text, "a,b,c\n" + text):
        with suppress(FileRefused):
            for row in read(kind, content, mapping):
                assert isinstance(row.call, Rejection) or orjson.dumps(row.call)


@given(st.text(alphabet='ab,"\r\n ', max_size=80))
def test_every_line_of_a_file_is_in_a_row_whatever_its_quotation_marks(text: str) -> None:
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if "a" in line or "b" in line]
    if lines:
        rows = read("customers", "x,y,z\n" + text)
        in_rows = [line for row in rows for line in re.split(r"\r\n|\r|\n", row.raw)]
        assert [line for line in in_rows if "a" in line or "b" in line] == lines


@pytest.mark.parametrize("text", ['user_id,note\n{}\nu2,"b"\n', '{}\n{{"user_id": "u2"}}\n'])
def test_a_row_that_is_too_large_is_not_read(text: str) -> None:
    cell = "ế" * MAX_ROW_CHARS
    large = f'{{"user_id": "u1", "note": "{cell}"}}' if text.startswith("{}") else 'u1,"' + '","'.join([cell[:70_000]] * 3) + '"'
    first, second = read("customers", text.replace("{}", large, 1).replace("{{", "{").replace("}}", "}"))
    assert isinstance(first.call, Rejection)
    assert first.call.reason is Reason.TOO_LARGE
    assert first.raw == large
    assert isinstance(second.call, dict)


def test_an_endless_number_is_no_amount() -> None:
    line = f'{{"user_id": "u1", "event": "Order", "time": "2025-06-15", "total": {"9" * 400}}}\n'
    assert refused("events", line) == [(1, "wrong_type", "properties.total")]
