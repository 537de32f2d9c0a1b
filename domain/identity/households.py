"""Finds the households of a profile by the matching keys that its people share, and makes the ids of groups. Pure.

A matching key is a household id, a postal address or a phone number, as far as the rules admit it. Two profiles with the same
matching key get the same household id, although neither knows of the other: the id is a keyed hash of the matching key.

Example: with `address_trait: address` the profiles of two people with the addresses `12 Tran Hung Dao, Hue` and
`Số 12 đường Trần Hưng Đạo, Huế` both belong to the household with the hash of `address` and `12 tran hung dao hue`.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import phonenumbers

from domain.identity.identifier_values import normalise_as
from domain.identity.phone_numbers import has_extension
from domain.identity.postal_addresses import normalise_address
from domain.identity.rules import HouseholdRules
from domain.profiles.join import JoinedProfile
from domain.segments.comparisons import lookup
from domain.text_caches import cached_texts
from schemas.records import GroupKind

MAX_HOUSEHOLD_KEYS: Final = 10
"""How many matching keys of one profile count, the strongest first. A profile with more phone numbers is no ordinary person."""

_LETTER_OF_KIND: Final[dict[GroupKind, str]] = {"account": "a", "household": "h"}
_KIND_OF_LETTER: Final[dict[str, GroupKind]] = {letter: kind for kind, letter in _LETTER_OF_KIND.items()}
_PHONE_NAMESPACES: Final = frozenset({"phone", "caller_number"})


@cached_texts("groups", weight=2)
def group_id(secret: bytes, kind: GroupKind, value: str) -> str:
    """Return the id of a group: a letter for its kind and 31 digits of a keyed hash. No node begins with one of these letters."""
    # BLAKE2b takes a key of at most 64 bytes. `person` keeps these hashes apart from other hashes under the same secret.
    digest = hashlib.blake2b(kind.encode() + b"\0" + value.encode(), key=secret[:64], person=b"group", digest_size=16).hexdigest()
    return f"{_LETTER_OF_KIND[kind]}{digest[:31]}"


def group_kind(group: str) -> GroupKind:
    """Return the kind of a group, read from the first letter of its id."""
    return _KIND_OF_LETTER[group[0]]


def household_ids(joined: JoinedProfile, rule: HouseholdRules, secret: bytes) -> list[str]:
    """Return the id of the household of each matching key of a profile, the strongest key first."""
    keys = list(dict.fromkeys(_household_keys(joined, rule)))[:MAX_HOUSEHOLD_KEYS]
    return [group_id(secret, "household", key) for key in keys]


def _household_keys(joined: JoinedProfile, rule: HouseholdRules) -> Iterator[str]:
    if rule.id_trait and (name := _explicit_household_id(lookup(joined.traits, rule.id_trait))) is not None:
        yield f"id\0{name}"
    if rule.address_trait and (address := normalise_address(lookup(joined.traits, rule.address_trait))) is not None:
        yield f"address\0{address}"
    if not (rule.landline or rule.shared_phone):
        return
    numbers = _phone_numbers(joined)
    # Both rules give a number the same key: a landline makes the same household whichever of them admits it.
    if rule.landline:
        yield from (f"phone\0{number}" for number in numbers if is_landline(number))
    if rule.shared_phone:
        yield from (f"phone\0{number}" for number in numbers)


def _explicit_household_id(value: Any) -> str | None:
    """Return the text of an explicit household id, or None for a value that identifies no household."""
    if not isinstance(value, str | int) or isinstance(value, bool):  # True is an int, and would make a household of many people
        return None
    return normalise_as("text", str(value), "")


def _phone_numbers(joined: JoinedProfile) -> list[str]:
    """Return the phone numbers that the profile's events named, including those that belong to another profile or to nobody.

    A number that is the profile's only identifier does not count: such a profile is a number, and not a person of the household.
    Nor does an extension: behind an exchange sit colleagues.
    """
    own_values = {value for _, value in joined.identifiers}
    return sorted(
        {
            value
            for namespace, value in joined.event_identifiers
            if namespace in _PHONE_NAMESPACES and own_values - {value} and not has_extension(value)
        }
    )


@cached_texts("landlines")
def is_landline(number: str) -> bool:
    """Return whether a phone number in E.164 is a fixed line."""
    # FIXED_LINE_OR_MOBILE does not count: in countries where the two look alike, every mobile phone would be a landline.
    try:
        return bool(phonenumbers.number_type(phonenumbers.parse(number)) == phonenumbers.PhoneNumberType.FIXED_LINE)
    except phonenumbers.NumberParseException:
        return False
