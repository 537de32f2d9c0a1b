"""Versions of the event, and what it is called."""

import orjson
import pytest

from schemas.codec import Undecodable, decode, encode
from schemas.events import EVENT_VERSION, Event
from tests.support.events import event

OLD = {
    "version": 1, "id": "m1", "type": "track", "name": "Đặt hàng", "source": "default", "time_ms": 5, "received_ms": 6,
    "owner": "0" * 32, "nodes": ["0" * 32], "identifiers": [["user_id", "u1"]], "properties": {}, "traits": {}, "context": {},
}  # fmt: skip


def test_an_event_of_the_first_version_is_read_as_one_of_the_newest() -> None:
    read = decode(Event, orjson.dumps(OLD))
    assert read.version == EVENT_VERSION
    assert read.flags == ()
    assert read.violations == ()
    assert read.observed == ()
    assert decode(Event, encode(read)) == read


def test_an_event_of_a_newer_version_is_refused() -> None:
    with pytest.raises(Undecodable, match="unknown_version"):
        decode(Event, orjson.dumps({**OLD, "version": EVENT_VERSION + 1}))


def test_empty_event_fields_are_omitted() -> None:
    assert not {"flags", "violations", "observed"} & orjson.loads(encode(event({"user_id": "u"}, id="1"))).keys()
    flagged = event({"user_id": "u"}, id="1", flags=("bot",), violations=(("properties.total", "missing", ""),))
    assert decode(Event, encode(flagged)) == flagged


def test_a_track_event_is_called_by_its_name_and_others_by_their_type() -> None:
    assert decode(Event, orjson.dumps(OLD)).label == "Đặt hàng"
    assert event({"user_id": "u"}, id="1", type="page", name="Home").label == "$page"
