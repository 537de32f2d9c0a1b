"""Namespaces of one's own: what rules may declare, and what their identifiers are."""

import random
from typing import Any

import pytest
from pydantic import ValidationError

from domain.definitions.consistency import find_inconsistencies
from domain.definitions.kinds import AnyDefinition, InvalidDefinition, SegmentList, load_yaml
from domain.identity.clusters import Evidence, resolve
from domain.identity.model import Edge
from domain.identity.namespaces import SHIPPED_NAMESPACES
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec, rules_version
from domain.intake.context import IntakeContext
from domain.intake.parse import parse_call
from domain.intake.rejection import Rejection
from ops.definitions_topic import seal
from runtime.settings import Settings
from schemas.events import Event
from schemas.hashes import content_hash
from schemas.identifiers import NAMESPACE_RANK, OWN_MARK, namespace_of, node
from schemas.reasons import Reason

SECRET = b"test-secret-of-16"
CARD = {
    "rank": 1,
    "owner_order": 3,
    "normalise": "digits",
    "max_neighbours": 3,
    "blocked": ["4000 0000"],
    "blocked_patterns": ["^99"],
}
SPEC: dict[str, Any] = {
    "namespaces": {
        "loyalty_card": CARD,
        "national_id_hash": {"rank": 0, "normalise": "hexadecimal", "max_per_profile": 1},
        "zalo_user_id": {"rank": 3},
        "account_number": {"rank": 2, "normalise": "upper_alphanumeric"},
    }
}


def compiled(spec: dict[str, Any]) -> CompiledIdentityRules:
    return CompiledIdentityRules.from_spec(IdentityRulesSpec.model_validate(spec), secret=SECRET, country="VN")


RULES = compiled(SPEC)


def parse(call: dict[str, Any], rules: CompiledIdentityRules = RULES) -> Event | Rejection:
    return parse_call(
        {"type": "track", "event": "Order Completed", **call},
        call_type=None,
        source="pos",
        trust="trusted",
        received_ms=1_750_000_000_000,
        sent_ms=None,
        secret=SECRET,
        country="VN",
        default_id="m1",
        namespaces=rules.namespaces,
    )


def parsed(call: dict[str, Any]) -> Event:
    event = parse(call)
    assert isinstance(event, Event), event
    return event


@pytest.mark.parametrize(
    ("namespace", "written", "spelling"),
    [
        ("loyalty_card", "4000 1234-5678", "400012345678"),
        ("loyalty_card", "400012345678.0", "400012345678"),
        ("loyalty_card", "4000-ABCD", None),
        ("national_id_hash", "0F" * 32, "0f" * 32),
        ("national_id_hash", "079201012345", None),
        ("zalo_user_id", " 4839201938475 ", "4839201938475"),
        ("account_number", "vn 12-ab/7", "VN12AB7"),
        ("zalo_user_id", "#N/A", None),
        ("account_number", "Khách lẻ", None),
    ],
)
def test_values_have_the_form_of_their_namespace(namespace: str, written: str, spelling: str | None) -> None:
    assert RULES.namespaces.normalise(namespace, written, "VN") == spelling
    if spelling is not None:
        assert RULES.namespaces.normalise(namespace, spelling, "VN") == spelling


@pytest.mark.parametrize(
    ("form", "written", "spelling"),
    [
        ("text", "Ab-1", "Ab-1"),
        ("lower_case", "ÁB-1", "áb-1"),
        ("email", "<An@Thu.vn>", "an@thu.vn"),
        ("phone", "0912 345 678", "+84912345678"),
    ],
)
def test_every_form_of_the_list_can_be_declared(form: str, written: str, spelling: str) -> None:
    rules = compiled({"namespaces": {"own": {"rank": 2, "normalise": form}}})
    assert rules.namespaces.normalise("own", written, "VN") == spelling


def test_an_event_carries_identifiers_of_ones_own() -> None:
    event = parsed({"anonymousId": "c-71", "identifiers": {"loyalty_card": "4000 1234-5678", "email": "an@thu.vn"}})
    assert event.identifiers == (("anonymous_id", "c-71"), ("email", "an@thu.vn"), ("loyalty_card", "400012345678"))
    card = event.nodes[2]
    assert card[:9] == f"1{OWN_MARK}"
    assert len(card) == 32
    assert int(card, 16) >= 0
    assert RULES.namespaces.name_of(card) == "loyalty_card"
    assert event.owner == card


def test_the_owner_follows_the_declared_place() -> None:
    # The card comes behind device_id, which has the third place, and before anonymous_id, which has the fourth.
    for other, owns_card in (("user_id", False), ("crm_id", False), ("device_id", False), ("anonymous_id", True), ("email", True)):
        value = "an@thu.vn" if other == "email" else "x-1"
        event = parsed({"identifiers": {other: value, "loyalty_card": "400012345678"}})
        owner = event.identifiers[event.nodes.index(event.owner)]
        assert (owner[0] == "loyalty_card") is owns_card, other


def test_nodes_sort_between_the_shipped_ranks() -> None:
    def nodes(namespace: str) -> list[str]:
        return [RULES.namespaces.node(SECRET, (namespace, str(number))) for number in range(200)]

    assert max(nodes("crm_id")) < min(nodes("loyalty_card"))
    assert max(nodes("loyalty_card")) < min(nodes("email"))
    assert max(nodes("user_id")) < min(nodes("national_id_hash"))
    assert len({*nodes("loyalty_card"), *nodes("zalo_user_id")}) == 400


def test_a_namespace_that_is_not_declared_is_refused_with_the_cure() -> None:
    rejected = parse({"userId": "u1", "identifiers": {"loyalty_card": "4000"}}, DEFAULT_RULES)
    assert isinstance(rejected, Rejection)
    assert (rejected.reason, rejected.path) == (Reason.WRONG_TYPE, "identifiers")
    assert "declare others in the identity rules" in rejected.detail
    assert "loyalty_card" not in rejected.detail


def test_declaring_a_namespace_changes_no_node_and_no_spelling() -> None:
    rng = random.Random(7)
    for namespace in NAMESPACE_RANK:
        value = f"{rng.randrange(10**9)}"
        assert RULES.namespaces.node(SECRET, (namespace, value)) == node(SECRET, (namespace, value))
        assert namespace_of(node(SECRET, (namespace, value))) == namespace
    call = {"userId": "u1", "anonymousId": "c1", "identifiers": {"phone": "0912345678"}}
    assert parse(call) == parse(call, DEFAULT_RULES)


def test_limits_and_blocked_values_hold_for_a_namespace_of_ones_own() -> None:
    namespaces = RULES.namespaces

    def own(namespace: str, value: str) -> str:
        return namespaces.node(SECRET, (namespace, value))

    users = [node(SECRET, ("user_id", f"u{number}")) for number in range(4)]
    card, other_card = own("loyalty_card", "4711"), own("loyalty_card", "4712")
    edges = {(user, card): Edge(number, f"e{number}", number, f"e{number}", "pos") for number, user in enumerate(users)}
    assert resolve(Evidence(edges), RULES).dead_edges[users[0], card].reason == "generic"
    fewer = {pair: edge for pair, edge in edges.items() if pair[0] != users[3]}
    assert {dead.reason for dead in resolve(Evidence(fewer), RULES).dead_edges.values()} == {"unique"}

    hashes = [own("national_id_hash", digit * 64) for digit in "ab"]
    lower, upper = sorted(hashes)
    cookie = node(SECRET, ("anonymous_id", "c1"))
    shared = {(one, cookie): Edge(number, "e", number, "e", "pos") for number, one in enumerate((lower, upper))}
    resolution = resolve(Evidence(shared), RULES)
    assert [(dead.reason, namespaces.name_of_key(dead.subject)) for dead in resolution.dead_edges.values()] == [
        ("unique", "national_id_hash")
    ]

    assert RULES.is_blocked(own("loyalty_card", "40000000"), None)
    assert RULES.has_patterns(card)
    assert RULES.is_blocked(other_card, ("loyalty_card", "9912"))
    assert not RULES.is_blocked(other_card, ("loyalty_card", "4712"))


def test_a_namespace_that_is_dropped_links_nobody() -> None:
    card = RULES.namespaces.node(SECRET, ("loyalty_card", "4711"))
    user = node(SECRET, ("user_id", "u1"))
    assert not RULES.is_blocked(card, None)
    assert DEFAULT_RULES.is_blocked(card, None)
    assert DEFAULT_RULES.blocked_among([card, user]) == {card}
    evidence = Evidence({(user, card): Edge(1, "e", 1, "e", "pos")}, blocked=DEFAULT_RULES.blocked_among([card, user]))
    assert resolve(evidence, DEFAULT_RULES).labels == {user: user, card: card}


@pytest.mark.parametrize(
    ("namespaces", "problem"),
    [
        ({"emial": {"max_neighbours": 3}}, "give it a rank to declare a namespace of your own"),
        ({"email": {"rank": 1}}, "of a shipped namespace|for a shipped namespace"),
        ({"loyalty_card": {"rank": 7}}, "less than or equal to 6"),
        ({"loyalty_card": {"rank": 1, "normalise": "soundex"}}, "Input should be"),
        ({"Thẻ": {"rank": 1}}, "should match pattern"),
        ({"time": {"rank": 1}}, "another meaning"),
        ({f"own_{number}": {"rank": 1} for number in range(33)}, "at most 32"),
    ],
)
def test_a_wrong_declaration_is_refused(namespaces: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        IdentityRulesSpec.model_validate({"namespaces": namespaces})


def test_rules_without_namespaces_of_ones_own_keep_their_version() -> None:
    spec = IdentityRulesSpec.model_validate({"namespaces": {"email": {"max_neighbours": 3}}})
    content = spec.model_dump(mode="json", exclude={"same_number"})
    earlier: dict[str, Any] = {"max_neighbours": 3, "max_per_profile": None, "blocked": [], "blocked_patterns": []}
    assert rules_version(spec) == content_hash({**content, "namespaces": {"email": earlier}})
    assert RULES.version != DEFAULT_RULES.version


RULES_DOCUMENT = "apiVersion: onefold/v1\nkind: IdentityRules\nmetadata: {name: default}\nspec: {namespaces: {loyalty_card: %s}}\n"
LIST_DOCUMENT = "apiVersion: onefold/v1\nkind: List\nmetadata: {name: vip}\nspec: {namespace: loyalty_card, values: [4000 1234]}\n"
SOURCE_DOCUMENT = """
apiVersion: onefold/v1
kind: Source
metadata: {name: pos}
spec:
  webhook:
    signature: {scheme: standard, secret_env: POS_SECRET}
    mapping: {rules: [{events: [{type: track, name: Sale, identifiers: {loyalty_card: $.card}}]}]}
"""


DESTINATION_DOCUMENT = """
apiVersion: onefold/v1
kind: Destination
metadata: {name: crm}
spec: {type: webhook, url: "https://crm.shop.vn/", secret_env: CRM_SECRET, triggers: [{segment: vip}], identifiers: [loyalty_card]}
---
apiVersion: onefold/v1
kind: Segment
metadata: {name: vip}
spec: {where: {did: {event: Sale}}}
"""


def documents(*texts: str) -> dict[str, AnyDefinition]:
    return {definition.key: definition for text in texts for definition in load_yaml(text, "test")}


def test_lists_webhooks_and_destinations_may_name_what_the_rules_declare() -> None:
    rules = documents(RULES_DOCUMENT % "{rank: 1, normalise: digits}")
    named = documents(LIST_DOCUMENT, SOURCE_DOCUMENT, DESTINATION_DOCUMENT)
    assert find_inconsistencies(named, rules) == []
    assert find_inconsistencies({**named, **rules}, {}) == []
    faults = find_inconsistencies(named, {})
    assert [fault.partition(": ")[0] for fault in faults] == ["Destination/crm", "List/vip", "Source/pos"]
    assert all("declare it in the identity rules" in fault for fault in faults)
    # Other rules that drop the namespace are refused as long as something names it.
    assert len(find_inconsistencies(documents(RULES_DOCUMENT.replace("loyalty_card: %s", "")), {**named, **rules})) == 3


def test_a_list_is_sealed_by_the_live_rules() -> None:
    settings = Settings()
    with pytest.raises(InvalidDefinition, match="loyalty_card is no namespace"):
        seal(settings, documents(LIST_DOCUMENT).values())
    live = documents(RULES_DOCUMENT % "{rank: 1, normalise: digits}")
    (sealed,) = seal(settings, documents(LIST_DOCUMENT).values(), live)
    assert isinstance(sealed, SegmentList)
    secret = settings.tenant_key
    assert sealed.spec.nodes == (node(secret, ("loyalty_card", "40001234"), {"loyalty_card": 1}),)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ("{rank: 2, normalise: digits}", "rank"),
        ("{rank: 1}", "normalise"),
        ("{rank: 1, normalise: digits, owner_order: 7}", "owner_order"),
    ],
)
def test_what_nodes_were_made_by_cannot_be_changed(changed: str, field: str) -> None:
    live = documents(RULES_DOCUMENT % "{rank: 1, normalise: digits}")
    (fault,) = find_inconsistencies(documents(RULES_DOCUMENT % changed), live)
    assert f"spec.namespaces.loyalty_card.{field}: it is fixed once the namespace exists" in fault
    assert find_inconsistencies(documents(RULES_DOCUMENT % "{rank: 1, normalise: digits, max_neighbours: 2}"), live) == []


def test_a_request_without_rules_knows_the_shipped_namespaces() -> None:
    assert IntakeContext("pos", 0).namespaces is SHIPPED_NAMESPACES
