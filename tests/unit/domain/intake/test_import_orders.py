import io
from typing import Any

from domain.intake.import_columns import ImportMapping
from domain.intake.import_orders import ImportRow
from domain.intake.import_rows import read_rows
from domain.intake.rejection import Rejection

HEADER = "mã đơn,SĐT,ngày mua,tên hàng,số lượng,đơn giá,total\n"


def read(text: str, mapping: ImportMapping | None = None) -> list[ImportRow]:
    return list(read_rows("events", iter(io.StringIO(text, newline="")), mapping or ImportMapping()))


def properties(text: str) -> list[dict[str, Any]]:
    return [row.call["properties"] for row in read(text) if isinstance(row.call, dict)]


def test_the_items_of_an_order_are_one_order_with_its_own_total() -> None:
    text = (
        HEADER
        + "D1,0912345678,2025-06-15,Áo,1,300,500\nD1,0912345678,2025-06-15,Nón,2,100,500\nD2,0912345678,2025-06-15,Khăn,1,50,50\n"
    )
    first, second = read(text)
    assert isinstance(first.call, dict)
    assert first.call["properties"] == {
        "order_id": "D1",
        "total": 500,
        "products": [{"name": "Áo", "quantity": 1, "price": 300}, {"name": "Nón", "quantity": 2, "price": 100}],
    }
    assert (first.line, first.row_count, first.raw.count("\n")) == (2, 2, 1)
    assert (second.line, second.row_count) == (4, 1)


def test_a_further_row_may_leave_customer_time_and_total_blank() -> None:
    (order,) = read(HEADER + "D1,0912345678,2025-06-15,Áo,1,300,500\nD1,,,Nón,2,100,\n")
    assert isinstance(order.call, dict)
    assert order.call["identifiers"] == {"phone": "0912345678"}
    assert order.call["timestamp"] == "2025-06-15T00:00:00.000Z"
    assert order.call["properties"]["total"] == 500


def test_amounts_of_lines_add_up() -> None:
    same_price = HEADER + "D1,0912345678,2025-06-15,Áo,1,300,300\nD1,0912345678,2025-06-15,Nón,3,100,300\n"
    assert properties(same_price)[0]["total"] == 600
    different = HEADER + 'D1,0912345678,2025-06-15,Áo,,,"0,1"\nD1,0912345678,2025-06-15,Nón,,,"0,2"\n'
    assert properties(different) == [
        {"order_id": "D1", "products": [{"name": "Áo", "total": 0.1}, {"name": "Nón", "total": 0.2}], "total": 0.3}
    ]


def test_the_same_order_twice_is_one_order() -> None:
    assert properties("mã đơn,SĐT,ngày mua,total\n" + "D1,0912345678,2025-06-15,5\n" * 2) == [{"order_id": "D1", "total": 5}]


def test_rows_of_another_customer_time_or_event_are_other_events() -> None:
    text = "mã đơn,SĐT,ngày mua,sự kiện\n"
    for other in ("D1,0912345679,2025-06-15,", "D1,0912345678,2025-06-16,", "D1,0912345678,2025-06-15,Order Refunded"):
        assert len(properties(text + "D1,0912345678,2025-06-15,\n" + other + "\n")) == 2


def test_a_further_row_behind_other_orders_is_rejected_and_not_a_second_order() -> None:
    text = HEADER + "D1,0912345678,2025-06-15,Áo,1,3,5\nD2,0912345678,2025-06-15,x,1,1,1\nD1,0912345678,2025-06-15,Nón,1,2,5\n"
    rows = read(text)
    assert [(row.line, row.call.path) for row in rows if isinstance(row.call, Rejection)] == [(4, "properties.order_id")]
    assert len(properties(text)) == 2


def test_message_ids_of_orders_are_stable() -> None:
    order = "D1,0912345678,2025-06-15,Áo,1,300,500\nD1,,,Nón,2,100,\n"
    one, longer = read(HEADER + order), read(HEADER + order + "D2,0912345678,2025-06-15,x,1,1,1\n")
    assert isinstance(one[0].call, dict)
    assert isinstance(longer[0].call, dict)
    assert one[0].call["messageId"] == longer[0].call["messageId"]


def test_an_event_that_brings_its_products_stays_as_it_is() -> None:
    line = '{"userId": "u", "date": "2025-06-15", "properties": {"order_id": "D1", "products": [{"n": %d}]}}\n'
    assert len(read(line % 1 + line % 2)) == 2
