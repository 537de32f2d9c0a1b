"""What the customers of the retailer do: an endless, seeded sequence of calls. Pure: the same seed gives the same sequence."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from demo.customers import PRODUCTS, Customer, Product, create_customer

CONCURRENT_VISITS: Final = 24
"""Visits that go on side by side."""
MAX_CUSTOMERS: Final = 2_000
_NEW_CUSTOMER_SHARE: Final = 0.5
_RESENT_SHARE: Final = 0.02
_GARBLED_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True)
class DemoCall:
    """A call of the shop's tracking client."""

    kind: Literal["page", "track", "identify"]
    message_id: str
    anonymous_id: str
    user_id: str | None = None
    name: str = ""
    properties: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DemoTouchpoint:
    """A record that the call centre produces to Kafka. `body` is None when the record is unreadable."""

    body: dict[str, Any] | None

    def record_value(self, now_ms: int) -> bytes:
        """Return the value of the Kafka record, as JSON."""
        if self.body is None:
            return b'{"type": "track", "event": "call_en'
        at = datetime.fromtimestamp(now_ms / 1000, tz=UTC).isoformat(timespec="milliseconds")
        return json.dumps({**self.body, "timestamp": at}, ensure_ascii=False).encode()


Action = DemoCall | DemoTouchpoint


class Simulation:
    """`actions` never ends. `run_id` makes the ids of one run different from those of another in the same stack.

    `today` is the date where the customers live: some have their birthday.
    """

    def __init__(self, seed: int, run_id: str, today: date) -> None:
        self._rng, self._run_id, self._today = random.Random(seed), run_id, today  # noqa: S311 - a simulation that can be repeated
        self._customers: list[Customer] = []
        self._message_count = 0

    def actions(self) -> Iterator[Action]:
        """One action after the other, of many visits at once."""
        visits = [self._visit() for _ in range(CONCURRENT_VISITS)]
        while True:
            slot = self._rng.randrange(CONCURRENT_VISITS)
            action = next(visits[slot], None)
            if action is None:
                visits[slot] = self._phone_call() if self._customers and self._rng.random() < 0.2 else self._visit()
                continue
            yield action
            if isinstance(action, DemoCall) and self._rng.random() < _RESENT_SHARE:
                yield action  # a client that did not hear the answer

    def _visit(self) -> Iterator[Action]:
        """Somebody looks around, unknown at first; may fill a cart, log in and order."""
        customer, rng = self._pick_customer(), self._rng
        device = rng.choice(customer.devices)
        viewed = rng.sample(PRODUCTS, rng.randint(1, 4))
        yield DemoCall(
            "page", self._next_message_id(), device, name="Trang chủ", properties={"path": "/", "title": "Chợ Quê: Trang chủ"}
        )
        for product in viewed:
            yield DemoCall("track", self._next_message_id(), device, name="Product Viewed", properties=product.properties())
        if rng.random() < 0.35:
            return
        cart = viewed[: rng.randint(1, len(viewed))]
        for product in cart:
            yield DemoCall(
                "track", self._next_message_id(), device, name="Product Added", properties={**product.properties(), "quantity": 1}
            )
        if rng.random() < 0.35:
            return
        yield DemoCall("identify", self._next_message_id(), device, customer.user_id, traits=customer.traits())
        if rng.random() < 0.8:
            yield self._order(customer, device, cart)

    def _order(self, customer: Customer, device: str, cart: list[Product]) -> DemoCall:
        total = sum(product.price for product in cart)
        properties = {
            "order_id": f"DH{self._rng.randrange(10**8):08}",
            "total": total,
            "currency": "VND",
            "products": [product.properties() for product in cart],
        }
        return DemoCall("track", self._next_message_id(), device, customer.user_id, name="Order Completed", properties=properties)

    def _phone_call(self) -> Iterator[Action]:
        """Yield the records of a call: a customer calls, and the call centre sees the caller's number."""
        customer, rng = self._rng.choice(self._customers), self._rng
        call = {"call_id": f"C{rng.randrange(10**8):08}", "queue": rng.choice(("Đơn hàng", "Bảo hành", "Tư vấn"))}
        yield DemoTouchpoint(self._call_event(customer, "call_started", call))
        if rng.random() < _GARBLED_SHARE:
            yield DemoTouchpoint(None)
        ended = {**call, "duration_s": rng.randint(20, 600), "outcome": rng.choice(("đã giải quyết", "gọi lại sau"))}
        yield DemoTouchpoint(self._call_event(customer, "call_ended", ended))

    def _call_event(self, customer: Customer, event: str, properties: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "track",
            "event": event,
            "messageId": self._next_message_id(),
            "source": "call-centre",
            "identifiers": {"phone": customer.phone},
            "properties": properties,
        }

    def _pick_customer(self) -> Customer:
        has_room = len(self._customers) < MAX_CUSTOMERS
        if not self._customers or (has_room and self._rng.random() < _NEW_CUSTOMER_SHARE):
            self._customers.append(create_customer(self._rng, len(self._customers), self._run_id, self._today))
            return self._customers[-1]
        return self._rng.choice(self._customers)

    def _next_message_id(self) -> str:
        self._message_count += 1
        return f"{self._run_id}-{self._message_count:07}"
