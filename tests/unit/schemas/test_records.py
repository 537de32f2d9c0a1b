"""Versions of the records between the agents."""

import msgspec
import orjson
import pytest

from schemas.codec import Undecodable, decode, encode
from schemas.records import LinkRecord, Profile, Touched, Transition
from tests.support.transitions import transition

NODE = "0" + "a" * 31
PROFILE = Profile(
    profile_id=NODE, members=(NODE,), label_version=1, identifiers=(("user_id", "Ánh"),), traits={}, counters={}, first_seen_ms=1,
    last_seen_ms=2, segments=(), computed={"lifecycle": "lead"}, updated_ms=3,
)  # fmt: skip
RECORDS = (
    Touched(profile_id=NODE, node=NODE, cause="event", at_ms=1, changed=("Đặt hàng",)),
    PROFILE,
    transition(),
)


@pytest.mark.parametrize("said", RECORDS, ids=lambda said: type(said).__name__)
def test_records_round_trip_and_newer_versions_are_refused(said: Touched | Profile | Transition) -> None:
    assert decode(type(said), encode(said)) == said
    with pytest.raises(Undecodable, match="unknown_version"):
        decode(type(said), orjson.dumps({**msgspec.to_builtins(said), "version": said.version + 1}))


@pytest.mark.parametrize(
    ("said", "more", "without"), [(RECORDS[0], "changed", ()), (RECORDS[1], "computed", {}), (RECORDS[2], "computed", {})]
)
def test_a_record_of_the_first_version_is_read_as_one_of_the_newest(
    said: Touched | Profile | Transition, more: str, without: object
) -> None:
    old = {**msgspec.to_builtins(said), "version": 1}
    del old[more]
    assert decode(type(said), orjson.dumps(old)) == msgspec.structs.replace(said, **{more: without})


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"profile_id": 7}, "Expected `str`, got `int` - at `$.profile_id`"),
        ({"cause": "lan@shop.vn"}, "The value is none of those that are allowed - at `$.cause`"),
        ({"changed": ["ok", {"lan@shop.vn": 1}]}, "Expected `str`, got `object` - at `$.changed[1]`"),
    ],
)
def test_an_error_names_the_field_and_quotes_no_value(changed: dict[str, object], problem: str) -> None:
    with pytest.raises(Undecodable) as error:
        decode(Touched, orjson.dumps({**msgspec.to_builtins(RECORDS[0]), **changed}))
    assert error.value.detail == problem


def test_the_kind_of_a_record_is_not_quoted_either() -> None:
    with pytest.raises(Undecodable) as error:
        decode(LinkRecord, b'{"kind": "0912345678"}')
    assert "0912345678" not in str(error.value)
