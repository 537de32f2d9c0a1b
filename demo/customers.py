"""Customers and goods of the simulated retailer."""

import random
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

_FAMILY_NAMES: Final = (
    "Nguyễn",
    "Trần",
    "Lê",
    "Phạm",
    "Hoàng",
    "Huỳnh",
    "Phan",
    "Vũ",
    "Võ",
    "Đặng",
    "Bùi",
    "Đỗ",
    "Hồ",
    "Ngô",
    "Dương",
    "Lý",
)
_MIDDLE_NAMES: Final = ("Thị", "Văn", "Minh", "Ngọc", "Thanh", "Đức", "Quang", "Thuỳ", "Hữu", "Bảo", "Kim", "Xuân")
_GIVEN_NAMES: Final = (
    "Ánh", "Bình", "Châu", "Dũng", "Giang", "Hạnh", "Hằng", "Hiếu", "Hương", "Khánh", "Linh", "Long", "Mai", "Nam", "Ngân", "Oanh",
    "Phương", "Quỳnh", "Sơn", "Thảo", "Trang", "Tuấn", "Uyên", "Việt", "Yến",
)  # fmt: skip
_CITIES: Final = ("Hà Nội", "Hà Nội", "Thành phố Hồ Chí Minh", "Thành phố Hồ Chí Minh", "Đà Nẵng", "Cần Thơ", "Huế", "Hải Phòng")
_STREETS: Final = (
    "Trần Hưng Đạo", "Lê Lợi", "Nguyễn Huệ", "Phan Chu Trinh", "Lý Thường Kiệt", "Hai Bà Trưng", "Điện Biên Phủ",
    "Cách Mạng Tháng Tám",
)  # fmt: skip
TIMEZONE: Final = "Asia/Ho_Chi_Minh"
"""Where the customers live."""
_BIRTHDAY_SHARE: Final = 1 / 8
_PREFIXES: Final = ("032", "035", "038", "056", "070", "077", "081", "086", "090", "091", "093", "098")


@dataclass(frozen=True, slots=True)
class Product:
    """Something on sale; `price` is in đồng."""

    sku: str
    name: str
    price: int

    def properties(self) -> dict[str, Any]:
        """As an event says it."""
        return {"product_id": self.sku, "name": self.name, "price": self.price, "currency": "VND"}


PRODUCTS: Final = (
    Product("AD-01", "Áo dài lụa Hà Đông", 1_850_000),
    Product("NL-02", "Nón lá bài thơ", 120_000),
    Product("CF-03", "Cà phê Buôn Ma Thuột 1 kg", 240_000),
    Product("NM-04", "Nước mắm Phú Quốc 40 độ đạm", 165_000),
    Product("GS-05", "Bộ ấm trà gốm Bát Tràng", 780_000),
    Product("TV-06", "Ti vi 55 inch", 11_490_000),
    Product("ND-07", "Nồi cơm điện 1,8 lít", 1_290_000),
    Product("GD-08", "Giày da nam cỡ 42", 890_000),
    Product("SR-09", "Sầu riêng Ri6 3 kg", 450_000),
    Product("DH-10", "Đồng hồ thông minh", 2_690_000),
)


@dataclass(frozen=True, slots=True)
class Customer:
    """A person with an account at the shop and two devices."""

    user_id: str
    name: str
    email: str
    phone: str
    address: dict[str, str]
    birthday: str
    timezone: str
    devices: tuple[str, str]

    def traits(self) -> dict[str, Any]:
        """Return the traits that the shop's login call carries."""
        return {
            "name": self.name, "email": self.email, "phone": self.phone, "address": self.address, "birthday": self.birthday,
            "timezone": self.timezone,
        }  # fmt: skip


def create_customer(rng: random.Random, number: int, run_id: str, today: date) -> Customer:
    """Create the customer with this number; `run_id` keeps the customers of several runs apart.

    One in eight has a birthday today, so that the segment `birthday` has members.
    """
    family_name, middle_name, given_name = rng.choice(_FAMILY_NAMES), rng.choice(_MIDDLE_NAMES), rng.choice(_GIVEN_NAMES)
    mailbox = _without_accents(f"{given_name}.{family_name}")
    return Customer(
        user_id=f"kh-{run_id}-{number:05}",
        name=f"{family_name} {middle_name} {given_name}",
        email=f"{mailbox}.{run_id}{number}@thu.vn",
        phone=f"{rng.choice(_PREFIXES)} {rng.randint(100, 999)} {rng.randint(1000, 9999)}",
        address={"street": f"{rng.randint(1, 250)} {rng.choice(_STREETS)}", "city": rng.choice(_CITIES), "country": "VN"},
        birthday=_birthday(rng, today).isoformat(),
        timezone=TIMEZONE,
        devices=(f"web-{rng.getrandbits(64):016x}", f"app-{rng.getrandbits(64):016x}"),
    )


def _birthday(rng: random.Random, today: date) -> date:
    if rng.random() < _BIRTHDAY_SHARE:
        return date(rng.randrange(1960, 2008, 4), today.month, today.day)  # leap years: they have every day
    return date(1960, 1, 1) + timedelta(days=rng.randrange(47 * 365))


def _without_accents(text: str) -> str:
    """Without accents, as people write their e-mail addresses."""
    decomposed = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))  # noqa: TID251 - a name of our list
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).lower()
