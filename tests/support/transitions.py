"""Transitions and destinations for tests."""

from typing import Any

from domain.definitions.kinds import Destination, parse_definition
from schemas.records import Transition


def transition(**changes: Any) -> Transition:
    """Return a transition in which one profile enters `vip` live, with these fields changed."""
    values: dict[str, Any] = {
        "profile_id": "0" + "a" * 31,
        "segment": "vip",
        "segment_version": "v1",
        "op": "entered",
        "seq": 1,
        "at_ms": 1_750_000_000_123,
        "evaluated_ms": 1_750_000_000_200,
        "cause": "event",
        "event_id": "e1",
        "traits": {"name": "Nguyễn Thị Ánh", "city": "Hà Nội"},
        "computed": {"lifecycle": "loyal"},
        "identifiers": (
            ("crm_id", "CRM-12"),
            ("email", "anh@shop.vn"),
            ("email", "anh.nguyen@shop.vn"),
            ("phone", "+84912345678"),
            ("user_id", "KH-7"),
        ),
    }
    return Transition(**(values | changes))


def destination(name: str = "hook", url: str = "https://shop.vn/hook", **spec: Any) -> Destination:
    """Return a webhook destination that is called when a profile enters `vip`."""
    values = {
        "type": "webhook",
        "url": url,
        "secret_env": "HOOK_SECRET",
        "triggers": [{"segment": "vip"}],
        "allow_private_addresses": True,
        "retry": {"max_age_ms": 60_000, "min_ms": 1, "max_ms": 5},
    }
    document = {"apiVersion": "onefold/v1", "kind": "Destination", "metadata": {"name": name}, "spec": values | spec}
    parsed = parse_definition(document, "test")
    assert isinstance(parsed, Destination)
    return parsed
