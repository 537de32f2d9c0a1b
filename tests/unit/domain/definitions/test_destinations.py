"""A destination that could never send is refused before it is live."""

from typing import Any

import pytest

from domain.definitions.consistency import find_inconsistencies
from domain.definitions.kinds import InvalidDefinition, load_yaml
from tests.support.transitions import destination

SEGMENT = "apiVersion: onefold/v1\nkind: Segment\nmetadata: {name: vip}\nspec: {where: {all: [{did: {event: X}}]}}\n"
LIVE = {definition.key: definition for definition in load_yaml(SEGMENT, "live")}


def faults(**spec: Any) -> list[str]:
    return find_inconsistencies({"Destination/hook": destination(**({"allow_private_addresses": False} | spec))}, LIVE)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"secret_env": None}, "secret_env"),
        ({"secret_file": "hook.secret"}, "one of them"),
        ({"url": "http://127.0.0.1:8080/hook"}, "allow_private_addresses"),
        ({"url": "https://10.1.2.3/hook"}, "allow_private_addresses"),
        ({"url": "https://localhost/hook"}, "allow_private_addresses"),
        ({"url": "http://[::1]:80/hook"}, "allow_private_addresses"),
        ({"url": "https://192.0.0.8/hook"}, "allow_private_addresses"),
        ({"url": "https://[64:ff9b:1::1]/hook"}, "allow_private_addresses"),
        ({"url": "http://crm.cua-hang.vn/hook"}, "allow_plain_http: true"),
        ({"url": "http://8.8.8.8/hook"}, "use https"),
        ({"url": "https://onefold:mat-khau@crm.cua-hang.vn/hook"}, "allow_password_in_url: true"),
        ({"url": "https://ma-bi-mat@crm.cua-hang.vn/hook"}, "take it out"),
        ({"identifiers": ["user_id", "loyalty"]}, "loyalty is no namespace"),
    ],
)
def test_a_destination_that_could_not_send_is_refused_with_the_cure(spec: dict[str, Any], expected: str) -> None:
    (fault,) = faults(**spec)
    assert fault.startswith("Destination/hook: spec")
    assert expected in fault
    assert "mat-khau" not in fault
    assert "ma-bi-mat" not in fault


@pytest.mark.parametrize(
    "url", ["https://onefold:mat-khau@", "https://onefold:mat-khau@crm cua hang/", "ftp://onefold:mat-khau@x/"]
)
def test_a_password_in_a_url_that_cannot_be_read_is_not_quoted(url: str) -> None:
    with pytest.raises(InvalidDefinition) as raised:
        destination(url=url)
    assert "mat-khau" not in str(raised.value)
    assert "spec.url" in str(raised.value)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"secret_env": None, "secret_file": "hook.secret"},
        {"url": "http://127.0.0.1:8080/hook", "allow_private_addresses": True},
        {"url": "https://8.8.8.8/hook"},
        {"url": "http://localhost:8080/hook", "allow_private_addresses": True},
        {"url": "http://10.1.2.3/hook", "allow_private_addresses": True, "allow_plain_http": True},
        {"url": "https://onefold:mat-khau@crm.cua-hang.vn/hook", "allow_password_in_url": True},
        {"url": "https://cửa-hàng.vn/hook", "identifiers": ["email", "phone", "caller_number"]},
        {"identifiers": []},
    ],
)
def test_a_destination_that_can_send_is_accepted(spec: dict[str, Any]) -> None:
    assert faults(**spec) == []


def test_a_namespace_of_ones_own_may_be_asked_for() -> None:
    rules = "apiVersion: onefold/v1\nkind: IdentityRules\nmetadata: {name: default}\nspec: {namespaces: {loyalty: {rank: 1}}}\n"
    live = LIVE | {definition.key: definition for definition in load_yaml(rules, "live")}
    assert find_inconsistencies({"Destination/hook": destination(identifiers=["loyalty"])}, live) == []


def test_a_live_destination_without_a_secret_does_not_stop_others() -> None:
    live = LIVE | {"Destination/old": destination("old", secret_env=None)}
    assert find_inconsistencies({"Destination/hook": destination()}, live) == []
