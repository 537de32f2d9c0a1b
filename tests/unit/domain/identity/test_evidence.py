"""What one event is evidence for, beyond the identifiers that it names itself."""

from dataclasses import replace

import pytest

from domain.identity.clusters import DeadEdge, Evidence, resolve
from domain.identity.evidence import add_event_edges, event_pairs
from domain.identity.model import Edges, ordered_pair
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec, rules_version
from domain.intake.parse import parse_call
from schemas.events import Event
from schemas.hashes import content_hash
from schemas.identifiers import Identifier, node
from schemas.instants import DAY_MS
from tests.support.events import SECRET, START_MS, event

NUMBER = "+84912345678"
OFF = replace(DEFAULT_RULES, same_number=False)


def node_of(namespace: str, value: str) -> str:
    return node(SECRET, (namespace, value))


def pair_of(one: Identifier, other: Identifier) -> tuple[str, str]:
    return ordered_pair(node(SECRET, one), node(SECRET, other))


def alias(previous_id: str, user_id: str = "KH-new", **fields: str) -> Event:
    call = {"type": "alias", "userId": user_id, "previousId": previous_id, **fields}
    parsed = parse_call(
        call,
        call_type=None,
        source="web",
        trust="trusted",
        received_ms=START_MS,
        sent_ms=None,
        secret=SECRET,
        country="VN",
        default_id="a",
    )
    assert isinstance(parsed, Event)
    return parsed


def resolved(
    *events: Event, rules: CompiledIdentityRules = DEFAULT_RULES
) -> tuple[dict[str, str], dict[tuple[str, str], DeadEdge]]:
    edges: Edges = {}
    for item in events:
        add_event_edges(edges, item, SECRET)
    resolution = resolve(Evidence(edges), rules)
    return resolution.labels, resolution.dead_edges


def test_an_alias_is_evidence_for_the_earlier_id_as_a_user_and_as_a_cookie() -> None:
    user = ("user_id", "KH-new")
    assert event_pairs(alias(" old "), SECRET) == {
        pair_of(user, ("user_id", "old")): "alias",
        pair_of(user, ("anonymous_id", "old")): "alias",
    }


def test_an_alias_of_two_known_users_is_left_out_by_the_limit_and_not_for_want_of_evidence() -> None:
    _, dead = resolved(alias("KH-old"))
    assert dead == {pair_of(("user_id", "KH-new"), ("user_id", "KH-old")): DeadEdge("unique", "user_id", 1)}
    joining = replace(DEFAULT_RULES, max_per_profile={"user_id": 2})
    labels, _ = resolved(alias("KH-old"), rules=joining)
    assert labels[node_of("user_id", "KH-old")] == labels[node_of("user_id", "KH-new")]


def test_an_alias_of_the_cookie_of_the_same_call_has_no_second_meaning() -> None:
    assert event_pairs(alias("c-1", anonymousId="c-1"), SECRET) == {
        pair_of(("user_id", "KH-new"), ("anonymous_id", "c-1")): "alias"
    }


@pytest.mark.parametrize(
    "call", [alias(" KH-new"), alias("null"), alias("c-1", user_id="null", anonymousId="c-2"), alias("x" * 2_000)]
)
def test_an_alias_of_oneself_or_of_nobody_links_nothing(call: Event) -> None:
    assert event_pairs(call, SECRET) == {}


def test_an_alias_that_an_earlier_version_stored_keeps_its_rule() -> None:
    stored = event({"user_id": "KH-new", "anonymous_id": "c-1"}, id="a", type="alias")
    assert event_pairs(stored, SECRET) == {pair_of(("user_id", "KH-new"), ("anonymous_id", "c-1")): "alias"}


def gave_phone(user_id: str, day: int = 0) -> Event:
    return event({"user_id": user_id, "phone": NUMBER}, id=f"p-{user_id}", type="identify", time_ms=START_MS + day * DAY_MS)


def called(user_id: str | None = None, day: int = 0, **more: str) -> Event:
    known = {"caller_number": NUMBER, **more} | ({} if user_id is None else {"user_id": user_id})
    return event(known, id=f"c-{user_id}-{day}", type="call_ended", time_ms=START_MS + day * DAY_MS)


def test_a_call_from_a_customers_own_number_belongs_to_the_customer() -> None:
    labels, dead = resolved(gave_phone("KH-1"), called())
    assert labels[node_of("caller_number", NUMBER)] == node_of("user_id", "KH-1")
    assert not dead


def test_rules_can_switch_the_same_number_off() -> None:
    labels, dead = resolved(gave_phone("KH-1"), called(), rules=OFF)
    assert labels[node_of("caller_number", NUMBER)] == node_of("caller_number", NUMBER)
    assert dead == {pair_of(("phone", NUMBER), ("caller_number", NUMBER)): DeadEdge("rule_off", "same_number")}


def test_what_an_event_names_together_counts_before_the_same_number() -> None:
    labels, dead = resolved(gave_phone("KH-1", day=5), called("KH-2", day=1), called(day=9))
    assert labels[node_of("caller_number", NUMBER)] == node_of("user_id", "KH-2")
    assert dead == {pair_of(("phone", NUMBER), ("caller_number", NUMBER)): DeadEdge("unique", "user_id", 1)}


def test_a_call_from_a_switchboard_names_nobody() -> None:
    labels, _ = resolved(*(gave_phone(f"KH-{n}") for n in range(9)), called())
    assert labels[node_of("caller_number", NUMBER)] == node_of("caller_number", NUMBER)


def test_the_phone_of_the_same_number_is_no_further_neighbour_of_a_caller_number() -> None:
    calls = [called(f"KH-{n}", day=n) for n in range(8)]
    labels, _ = resolved(*calls, called())
    assert labels[node_of("caller_number", NUMBER)] == node_of("user_id", "KH-7")


@pytest.mark.parametrize("order", [1, -1])
def test_the_rule_of_a_pair_does_not_depend_on_which_event_came_first(order: int) -> None:
    calls = [called(day=0), called(day=1, phone=NUMBER)][::order]
    edges: Edges = {}
    for call in calls:
        add_event_edges(edges, call, SECRET)
    assert {edge.rule for edge in edges.values()} == {"same_number"}


def test_rules_that_do_not_mention_the_same_number_keep_their_version() -> None:
    spec = IdentityRulesSpec(max_members=7)
    assert rules_version(spec) == content_hash(spec.model_dump(mode="json", exclude={"same_number"}))
    assert rules_version(spec.model_copy(update={"same_number": False})) != rules_version(spec)
