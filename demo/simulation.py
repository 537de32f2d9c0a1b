"""What the customers of the retailer do: an endless, seeded sequence of calls. Pure: the same seed gives the same sequence."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from demo.customers import (PRODUCTS, Customer, Product, customer)

AT_ONCE: Final = 24
"""Visits that go on side by side."""
MOST_CUSTOMERS: Final = 2_000
_NEW: Final = 0.5
_SENT_TWICE: Final = 0.02
_GARBLED: Final = 0.02


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the shop's tracking client."""

    kind: Literal["page", "track", "identify"]
    message_id: str
    anonymous_id: str
    user_id: str | None = None
    name: str = ""
    properties: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """What the call centre produces to Kafka; `body` is None for one whose line was garbled."""

    body: dict[str, Any] | None

    def record(self, now_ms: int) -> bytes:
        """The record's value."""
        if self.body is None:
            return b'{"type": "track", "event": "call_en'
        at = datetime.fromtimestamp(now_ms / 1000, tz=UTC).isoformat(timespec="milliseconds")
        return json.dumps({**self.body, "timestamp": at}, ensure_ascii=False).encode()


Action = Call | Touchpoint


class Simulation:
    """`actions` never ends. `run` makes the ids of one run different from those of another in the same stack.

    `today` is the date where the customers live: some have their birthday.
    """

    def __init__(self, seed: int, run: str, today: date) -> None:
        self._rng, self._run, self._today = random.Random(seed), run, today  # noqa: S311 - a simulation that can be repeated
        self._customers: list[Customer] = []
        self._numbers = 0

    def actions(self) -> Iterator[Action]:
        """One action after the other, of many visits at once."""
        visits = [self._visit() for _ in range(AT_ONCE)]
        while True:
            place = self._rng.randrange(AT_ONCE)
            action = next(visits[place], None)
            if action is None:
                visits[place] = self._call() if self._customers and self._rng.random() < 0.2 else self._visit()
                continue
            yield action
            if isinstance(action, Call) and self._rng.random() < _SENT_TWICE:
                yield action  # a client that did not hear the answer

    def _visit(self) -> Iterator[Action]:
        """Somebody looks around, unknown at first; may fill a cart, log in and order."""
        who, rng = self._somebody(), self._rng
        device = rng.choice(who.devices)
        seen = rng.sample(PRODUCTS, rng.randint(1, 4))
        yield Call("page", self._id(), device, name="Trang chủ", properties={"path": "/", "title": "Chợ Quê: Trang chủ"})
        for product in seen:
            yield Call("track", self._id(), device, name="Product Viewed", properties=product.properties())
        if rng.random() < 0.35:
            return
        cart = seen[: rng.randint(1, len(seen))]
        for product in cart:
            yield Call("track", self._id(), device, name="Product Added", properties={**product.properties(), "quantity": 1})
        if rng.random() < 0.35:
            return
        yield Call("identify", self._id(), device, who.user_id, traits=who.traits())
        if rng.random() < 0.8:
            yield self._order(who, device, cart)

    def _order(self, who: Customer, device: str, cart: list[Product]) -> Call:
        total = sum(product.price for product in cart)
        properties = {
            "order_id": f"DH{self._rng.randrange(10**8):08}",
            "total": total,
            "currency": "VND",
            "products": [product.properties() for product in cart],
        }
        return Call("track", self._id(), device, who.user_id, name="Order Completed", properties=properties)

    def _call(self) -> Iterator[Action]:
        """A customer calls; the call centre knows the number that calls."""
        who, rng = self._rng.choice(self._customers), self._rng
        call = {"call_id": f"C{rng.randrange(10**8):08}", "queue": rng.choice(("Đơn hàng", "Bảo hành", "Tư vấn"))}
        yield Touchpoint(self._spoken(who, "call_started", call))
        if rng.random() < _GARBLED:
            yield Touchpoint(None)
        ended = {**call, "duration_s": rng.randint(20, 600), "outcome": rng.choice(("đã giải quyết", "gọi lại sau"))}
        yield Touchpoint(self._spoken(who, "call_ended", ended))

    def _spoken(self, who: Customer, event: str, properties: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "track",
            "event": event,
            "messageId": self._id(),
            "source": "call-centre",
            "identifiers": {"phone": who.phone},
            "properties": properties,
        }

    def _somebody(self) -> Customer:
        few = len(self._customers) < MOST_CUSTOMERS
        if not self._customers or (few and self._rng.random() < _NEW):
            self._customers.append(customer(self._rng, len(self._customers), self._run, self._today))
            return self._customers[-1]
        return self._rng.choice(self._customers)

    def _id(self) -> str:
        self._numbers += 1
        return f"{self._run}-{self._numbers:07}"
