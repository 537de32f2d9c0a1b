"""A seeded load for the floor and the pipeline alike: a retailer's events as Segment calls."""

import random
from typing import Any

import orjson

PRODUCTS = [{"product_id": f"p{n}", "name": f"Áo sơ mi {n}", "price": 100_000 + 5_000 * n} for n in range(50)]


def calls(count: int, seed: int, prefix: str) -> list[dict[str, Any]]:
    """Return track calls of about 350 bytes; one in ten has two identifiers, and every tenth event is of a new customer."""
    rng = random.Random(seed)
    made = []
    for n in range(count):
        person = rng.randrange(max(count // 10, 1))
        identifiers: dict[str, str] = {"anonymousId": f"{prefix}-c{person}"}
        if n % 10 == 0:
            identifiers["userId"] = f"{prefix}-u{person}"
        made.append(
            {
                "type": "track",
                "messageId": f"{prefix}-{n}",
                "event": rng.choice(["Product Viewed", "Product Added", "Order Completed"]),
                "properties": {**rng.choice(PRODUCTS), "quantity": rng.randint(1, 3), "currency": "VND"},
                "context": {"locale": "vi-VN", "timezone": "Asia/Ho_Chi_Minh", "userAgent": "bench"},
                **identifiers,
            }
        )
    return made


def bodies(made: list[dict[str, Any]], batch: int = 50) -> list[bytes]:
    """Return HTTP bodies with `batch` events each."""
    return [orjson.dumps({"batch": made[start : start + batch]}) for start in range(0, len(made), batch)]
