"""The matching keys of a household: which spellings of an address are one, which numbers count, in which order."""

import unicodedata
from typing import Any

import pytest

from domain.identity.households import MAX_HOUSEHOLD_KEYS, group_id, household_ids, is_landline
from domain.identity.postal_addresses import normalise_address
from domain.identity.rules import HouseholdRules
from domain.profiles.fragment import Fragment
from domain.profiles.join import JoinedProfile, join_fragments
from schemas.records import TraitValue

SECRET = b"s"
ALL = HouseholdRules(id_trait="home.id", address_trait="address", landline=True, shared_phone=True)
LANDLINE, MOBILE = "+842838221234", "+84901234567"


def joined(traits: dict[str, Any] | None = None, **identifiers: str) -> JoinedProfile:
    """Return a profile whose only own identifier is its user id, or which owns all identifiers if it has no user id."""
    fragment = Fragment(identifiers={f"{number}x": pair for number, pair in enumerate(sorted(identifiers.items()))})
    fragment.traits = {name: TraitValue(value, 1, "m") for name, value in (traits or {}).items()}
    own = [node for node, (namespace, _) in fragment.identifiers.items() if namespace == "user_id"]
    return join_fragments([fragment], {}, own or None)


@pytest.mark.parametrize(
    "address",
    [
        "Số 12 đường Trần Hưng Đạo, P.5, TP. Huế",
        "Số 12 \u00f0ường Trần Hưng \u00d0ạo, P.5, TP. Huế",
        "12 tran hung dao, phuong 5, hue",
        "12  TRẦN HƯNG ĐẠO - Phường 5; thành phố Huế, Việt Nam",
        unicodedata.normalize("NFD", "12 Trần Hưng Đạo, p5, Huế"),
        "12 Tran Hung Dao St., Ward 5, Hue City, Vietnam",
        {"street": "12 Trần Hưng Đạo, P. 5", "city": "Huế", "country": "VN"},
    ],
)
def test_spellings_of_an_address_are_normalised_alike(address: Any) -> None:
    assert normalise_address(address) == "12 tran hung dao phuong 5 hue"


@pytest.mark.parametrize(
    "address",
    [
        "12 Trần Hưng Đạo, P.6, Huế",
        "12 Trần Hưng Đạo, Q.5, Huế",
        "12/1 Trần Hưng Đạo, P.5, Huế",
        "14 Trần Hưng Đạo, P.5, Huế",
        "12 Trần Hưng Đạo, P.5, Vinh",
        {"street": "12 Trần Hưng Đạo, P.5", "city": "Vinh"},
    ],
)
def test_another_house_has_another_normal_form(address: Any) -> None:
    assert normalise_address(address) not in (None, normalise_address("12 Trần Hưng Đạo, P.5, Huế"))


@pytest.mark.parametrize(
    "address", ["", "Hà Nội", "Thôn Đông, xã Tây", "12345", 12, None, [], {"city": "Huế"}, {"street": "Đông"}, "1 a" * 999]
)
def test_incomplete_address_has_no_household_key(address: Any) -> None:
    assert normalise_address(address) is None


def test_signs_are_ordered_from_the_strongest() -> None:
    profile = joined({"home": {"id": "nhà 1"}, "address": "12 Lê Lợi, Huế"}, user_id="u1", phone=MOBILE, caller_number=LANDLINE)
    keys = ["id\0nhà 1", "address\x0012 le loi hue", f"phone\0{LANDLINE}", f"phone\0{MOBILE}"]
    assert household_ids(profile, ALL, SECRET) == [group_id(SECRET, "household", key) for key in keys]


def test_only_the_signs_of_the_rule_count() -> None:
    profile = joined({"home": {"id": "nhà 1"}, "address": "12 Lê Lợi, Huế"}, user_id="u1", phone=MOBILE, caller_number=LANDLINE)
    assert household_ids(profile, HouseholdRules(landline=True), SECRET) == [group_id(SECRET, "household", f"phone\0{LANDLINE}")]
    assert household_ids(joined(user_id="u1"), ALL, SECRET) == []


@pytest.mark.parametrize("value", ["null", " ", "n/a", "#N/A", "{{household}}", True, 1.5, ["nhà 1"], "x" * 2_000])
def test_an_id_value_that_identifies_no_household_is_ignored(value: Any) -> None:
    assert household_ids(joined({"home": {"id": value}}, user_id="u1"), ALL, SECRET) == []


def test_a_profile_with_only_a_phone_number_is_in_no_household() -> None:
    assert household_ids(joined(phone=LANDLINE), ALL, SECRET) == []
    assert household_ids(joined(phone=LANDLINE, caller_number=LANDLINE), ALL, SECRET) == []
    assert len(household_ids(joined(phone=LANDLINE, user_id="u1"), ALL, SECRET)) == 1


def test_a_line_behind_an_exchange_is_in_no_household() -> None:
    assert household_ids(joined(phone=f"{LANDLINE};ext=12", user_id="u1"), ALL, SECRET) == []


def test_an_id_of_a_household_has_one_spelling() -> None:
    ids = {tuple(household_ids(joined({"home": {"id": value}}, user_id="u1"), ALL, SECRET)) for value in ("007", '="007"', "007.0")}
    assert ids == {(group_id(SECRET, "household", "id\0" + "007"),)}


def test_signs_are_bounded() -> None:
    fragment = Fragment(identifiers={f"{n:x}": ("phone", f"+8490123{n:04}") for n in range(30)} | {"u": ("user_id", "u1")})
    assert len(household_ids(join_fragments([fragment], {}, ["u"]), ALL, SECRET)) == MAX_HOUSEHOLD_KEYS


@pytest.mark.parametrize(("number", "fixed"), [(LANDLINE, True), ("+842438221234", True), (MOBILE, False), ("nonsense", False)])
def test_fixed_lines_are_distinguished_from_mobiles(number: str, fixed: bool) -> None:
    assert is_landline(number) is fixed


def test_ids_of_groups_equal_no_node_and_depend_on_kind_and_secret() -> None:
    ids = {group_id(secret, kind, "b") for secret in (b"s", b"t") for kind in ("account", "household")}
    assert len(ids) == 4
    assert all(len(name) == 32 and not name[0].isdigit() and name[0] in "ah" for name in ids)
