"""Join the rows of one order: exports write a row for each line item, and an order with three items is one order. Pure.

Rows are of one order when they follow each other and have the same event and order id, and none contradicts the first in its
identifiers, its time or its message id (a further row may leave them blank). What differs between them belongs to the items, in
`products`; what is equal, or given once, belongs to the order. Amounts of lines add up to the order's `total`: those that differ,
or that are price times quantity; an equal total in every row is the order's own.

Example: `DH-1,Áo dài,2,100,500` and `DH-1,Nón lá,3,100,500` (order, name, quantity, price, total) become one event with the total
500 and two products.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from domain.intake.rejection import Rejection
from schemas.reasons import Reason

ITEM_PROPERTIES: Final = ("product_id", "name", "quantity", "price")
"""The properties of a row that are always those of its line item."""


@dataclass(frozen=True, slots=True)
class ImportRow:
    """A row: the line where it begins (from 1), its text in the file, and its call or why it has none.

    `row_count` is how many rows of the file it stands for, because the rows of an order are joined.
    """

    line: int
    raw: str
    call: dict[str, Any] | Rejection
    row_count: int = 1


def join_order_rows(rows: Iterator[ImportRow], order_event: str) -> Iterator[ImportRow]:
    """Yield the rows with those of one order joined; `order_event` is the name of the event that is an order.

    A row of an order that was complete before, because other rows lie between them, is rejected: it would be a second order.
    """
    order: list[ImportRow] = []
    finished_orders: set[int] = set()
    for row in rows:
        if order and _continues(order[0], row):
            order.append(row)
            continue
        if order:
            finished_orders.add(_order_key(order[0].call))
            yield _joined(order)
            order = []
        if not _is_order(row.call, order_event):
            yield row
        elif _order_key(row.call) in finished_orders:
            yield replace(
                row,
                call=Rejection(
                    Reason.WRONG_TYPE,
                    "the row has the order and the time of rows further up, but others lie between them: sort the file by order",
                    "properties.order_id",
                ),
            )
        else:
            order = [row]
    if order:
        yield _joined(order)


def _is_order(call: dict[str, Any] | Rejection, order_event: str) -> bool:
    if isinstance(call, Rejection) or call.get("event") != order_event:
        return False
    properties = call.get("properties")
    return isinstance(properties, dict) and isinstance(properties.get("order_id"), str | int) and "products" not in properties


def _order_key(call: Any) -> int:
    identifiers = frozenset((name, str(value)) for name, value in (call.get("identifiers") or {}).items())
    return hash((call["event"], call["properties"]["order_id"], call.get("timestamp"), call.get("messageId"), identifiers))


def _continues(first: ImportRow, row: ImportRow) -> bool:
    """Return whether a row is a further one of the order that `first` begins."""
    head, call = first.call, row.call
    if isinstance(head, Rejection) or isinstance(call, Rejection) or not _is_order(call, head["event"]):
        return False
    if call["properties"]["order_id"] != head["properties"]["order_id"]:
        return False
    identifiers = head.get("identifiers") or {}
    return all(call.get(field) in (None, head.get(field)) for field in ("timestamp", "messageId")) and all(
        value == identifiers.get(namespace) for namespace, value in (call.get("identifiers") or {}).items()
    )


def _joined(rows: list[ImportRow]) -> ImportRow:
    if len(rows) == 1:
        return rows[0]
    calls = [row.call for row in rows if isinstance(row.call, dict)]
    properties_of_rows = [call["properties"] for call in calls]
    order, items = _split_properties(properties_of_rows)
    call = {**{name: value for later in reversed(calls) for name, value in later.items()}, "properties": order}
    if any(items):
        order["products"] = [item for item in items if item]
    return ImportRow(rows[0].line, "\n".join(row.raw for row in rows), call, len(rows))


def _split_properties(rows: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the properties of the order, and those of each item."""
    order: dict[str, Any] = {}
    items: list[dict[str, Any]] = [{} for _ in rows]
    values_by_name: dict[str, list[tuple[int, Any]]] = {}
    for position, row in enumerate(rows):
        for name, value in row.items():
            values_by_name.setdefault(name, []).append((position, value))
    for name, values in values_by_name.items():
        first = values[0][1]
        is_of_items = name in ITEM_PROPERTIES or (
            _are_line_amounts(rows) if name == "total" else any(value != first for _, value in values)
        )
        if not is_of_items:
            order[name] = first
            continue
        for position, value in values:
            items[position][name] = value
        if name == "total":
            order[name] = _sum([value for _, value in values])
    return order, items


def _are_line_amounts(rows: Sequence[dict[str, Any]]) -> bool:
    """Return whether the totals of rows are those of their lines and not the order's."""
    totals = [row["total"] for row in rows if "total" in row]
    if len(totals) < len(rows):
        return False
    return any(total != totals[0] for total in totals) or all(_is_price_times_quantity(row) for row in rows)


def _is_price_times_quantity(row: dict[str, Any]) -> bool:
    price, quantity = row.get("price"), row.get("quantity")
    return isinstance(price, int | float) and isinstance(quantity, int | float) and abs(price * quantity - row["total"]) < 0.005


def _sum(amounts: Sequence[Any]) -> int | float:
    total = sum(amounts)
    return total if isinstance(total, int) else round(total, 6)
