"""An apply that takes a way to send away says so: the requested source replaces the live one as a whole."""

from typing import Any

import pytest

from domain.definitions.kinds import Source, key_hash, parse_definition
from domain.definitions.lockouts import find_lockouts

NOW_MS = 1_750_000_000_000
OLD, NEW = key_hash("old"), key_hash("new")
EARLIER, LATER = "2025-06-15T00:00:00+07:00", "2025-06-16T00:00:00+07:00"
HOOK = {"signature": {"scheme": "standard", "secret_env": "HOOK"}, "mapping": {"rules": [{"ignore": True}]}}
OTHER_HOOK = {**HOOK, "signature": {"scheme": "standard", "secret_env": "OTHER"}}


def source(name: str = "default", **spec: Any) -> Source:
    parsed = parse_definition({"apiVersion": "onefold/v1", "kind": "Source", "metadata": {"name": name}, "spec": spec}, "test")
    assert isinstance(parsed, Source)
    return parsed


def lockouts(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return find_lockouts({"Source/default": source(**after)}, {"Source/default": source(**before)}, NOW_MS)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"write_key_sha256": [OLD]}, {"record_ip": True}, "1 write key would be removed, and none would be left"),
        ({"write_key_sha256": [OLD, NEW]}, {"write_key_sha256": [NEW]}, "1 write key would be removed, and 1 would be valid"),
        ({"write_keys": [{"sha256": OLD}]}, {"write_keys": [{"sha256": OLD, "valid_until": EARLIER}]}, "1 write key would"),
        ({"write_key_sha256": [OLD, NEW]}, {}, "2 write keys would be removed, and none would be left"),
        ({"topic_ingress": True}, {}, "touchpoints"),
        ({"trust": "trusted"}, {}, "it would be public"),
        ({"webhook": HOOK}, {}, "its webhook would be removed"),
        ({"webhook": HOOK}, {"webhook": OTHER_HOOK}, "other signatures"),
        ({}, {"cors_origins": ["https://cua-hang.vn"]}, "browsers"),
        ({"cors_origins": ["https://a.vn", "https://b.vn"]}, {"cors_origins": ["https://b.vn"]}, "browsers"),
    ],
)  # fmt: skip
def test_each_loss_is_said_once(before: dict[str, Any], after: dict[str, Any], expected: str) -> None:
    (sentence,) = lockouts(before, after)
    assert sentence.startswith("Source/default: ")
    assert expected in sentence
    assert OLD not in sentence


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"write_key_sha256": [OLD]}, {"write_key_sha256": [OLD, NEW]}),
        ({"write_key_sha256": [OLD]}, {"write_keys": [{"sha256": OLD, "valid_until": LATER}]}),
        ({"write_keys": [{"sha256": OLD, "valid_until": EARLIER}]}, {}),
        ({"cors_origins": ["https://a.vn"]}, {}),
        ({}, {"trust": "trusted"}),
        ({"cors_origins": ["https://a.vn"]}, {"cors_origins": ["https://b.vn", "https://a.vn"]}),
        ({"webhook": HOOK, "topic_ingress": True}, {"webhook": HOOK, "topic_ingress": True, "record_ip": True}),
    ],
)
def test_what_takes_nothing_away_is_not_mentioned(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert lockouts(before, after) == []


def test_a_new_source_and_one_that_is_not_applied_lock_nobody_out() -> None:
    live = {"Source/app": source("app", write_key_sha256=[OLD])}
    assert find_lockouts({"Source/web": source("web")}, live, NOW_MS) == []
