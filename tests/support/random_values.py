"""Values for random definitions and random histories: small pools, so that they meet, with every kind of value."""

import random
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any, Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
STEP_MS: Final = 6 * HOUR_MS
"""Much happens at multiples of it, so that windows and dates often end at one instant for many."""
SPAN_DAYS: Final = 9
"""How long events happen."""

EVENTS: Final = ("Order Completed", "Product Viewed", "Cart Updated", "$page", "$identify", "$group")
WINDOWS: Final = ("1h", "6h", "1d", "3d", "7d")
PURPOSES: Final = ("marketing", "quảng cáo", "a.b")
CHANNELS: Final = ("zalo", "Email", "SMS")
ACCOUNTS: Final = ("Acme", "Công ty Sữa")
ZONES: Final = ("Asia/Ho_Chi_Minh", "America/New_York", "Europe/Berlin", "America/Santiago", "UTC")
BASES: Final = tuple(
    int(datetime.fromisoformat(text).timestamp() * 1000)
    for text in (
        "2025-06-15T18:00:00+00:00",
        "2025-09-04T06:00:00+00:00",  # Santiago skips a midnight
        "2025-10-24T00:00:00+00:00",  # Berlin's clocks go back, New York's a week later
        "2025-12-27T18:00:00+00:00",
        "2026-03-05T00:00:00+00:00",
        "2027-02-25T12:00:00+00:00",
        "2028-02-26T12:00:00+00:00",  # a leap year
    )
)
"""When worlds begin: at a multiple of STEP_MS."""

TEXTS: Final = (
    "Hà Nội", unicodedata.normalize("NFD", "Hà Nội"), "hà nội", "Ha Noi", "HÀ NỘI", "Đà Nẵng", "đà nẵng", "da nang", "Huế", "",
    "5", "true", 'a"\\\n{b}', "🎉 Tết", "null",
)  # fmt: skip
NUMBERS: Final = (
    0,
    1,
    5,
    5.0,
    -3,
    0.1,
    0.2,
    2.5,
    100,
    19.99,
    1_000_000,
    0.0000015,
    2**53 + 1,
    1e16,
    5e19,
    -(2**63),
    1e12,
    -1e12,
    1.5e12,
)
AMOUNTS: Final = (1, 5, 5.0, "5", "10", 0.1, 0.2, 2.5, 10, 100, 19.99, -3)

PROPERTIES: Final = ("total", "category", "cart_id", "line.sku", "tags", "ok", "on")
TRAITS: Final = ("city", "tier", "points", "address.city", "vip", "tags", "birthday", "signup", "timezone", "so.thich")


def random_event_name(rng: random.Random) -> str:
    """Return the name of an event, mostly of an order."""
    return rng.choice(("Order Completed", "Order Completed", "Order Completed", "Product Viewed", *EVENTS))


def random_date(rng: random.Random, base_ms: int) -> str:
    """Return a date near `base_ms` in one of many spellings, or sometimes a text that is no valid date."""
    day = datetime.fromtimestamp(base_ms / 1000, tz=UTC) + timedelta(days=rng.randint(-8, 14))
    return rng.choice(
        (
            f"{day:%Y-%m-%d}",
            f"{day:%Y-%m-%d}",
            f"{day:%Y-%m-%d}T00:00:00Z",
            f"{day:%Y-%m-%d}T07:00:00+07:00",
            f"{day:%Y-%m-%d} 12:30:15.25-03:30",
            f"{day:%Y-%m-%d}t23:59z",
            rng.choice(
                (
                    "2025-02-30", "2025-06-15T24:00:00Z", "2025-06-15T10:00:00", "15/06/2025", "1899-12-31", "2300-01-01",
                    "2025-6-5", f"{day:%Y-%m-%d}T10:00:00Z ", "0000-00-00",
                )
            ),
        )
    )  # fmt: skip


def random_birthday(rng: random.Random, base_ms: int) -> str:
    """Return a birthday whose day of the year is near `base_ms`."""
    day = datetime.fromtimestamp(base_ms / 1000, tz=UTC) + timedelta(days=rng.randint(1, 14))
    return rng.choice(
        (f"19{rng.randint(50, 99)}-{day:%m-%d}", f"2004-{day:%m-%d}T09:00:00Z", "2000-02-29", "2000-02-29", "1990-13-01")
    )


def random_scalar(rng: random.Random, field: str, base_ms: int) -> Any:
    """Return a value as the field usually has it, or sometimes any other text, number or boolean."""
    if rng.random() < 0.15:
        return rng.choice((rng.choice(TEXTS), rng.choice(NUMBERS), rng.random() < 0.5))
    match field:
        case "total" | "points":
            return rng.choice(AMOUNTS)
        case "cart_id":
            return rng.choice(("c1", "c2", 1, "1"))
        case "ok" | "vip":
            return rng.random() < 0.5
        case "birthday":
            return random_birthday(rng, base_ms)
        case "signup" | "on":
            return random_date(rng, base_ms)
        case "timezone":
            return rng.choice((*ZONES, "Mars/Olympus", "asia/ho_chi_minh"))
        case _:
            return rng.choice(TEXTS[:3] if rng.random() < 0.6 else TEXTS)


def random_value(rng: random.Random, field: str, base_ms: int) -> Any:
    """Return a random JSON value, which may also be null, a list or an object."""
    chance = rng.random()
    if chance < 0.08:
        return None
    if chance < 0.14:
        return rng.choice(({"city": "Huế"}, [], {}, [None, {"a": 1}], [[1]]))
    if field == "tags" or chance < 0.18:
        return [random_scalar(rng, rng.choice(("tags", "total")), base_ms) for _ in range(rng.randint(0, 3))]
    return random_scalar(rng, field, base_ms)
