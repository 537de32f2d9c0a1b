"""The most that definitions store per leaf and altogether, known before any event has arrived."""

import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from domain.definitions.kinds import AnyDefinition
from domain.definitions.segment_plan import segment_plan_of
from domain.profiles.fragment import Fragment, apply_event
from domain.profiles.join import join_fragments
from domain.segments.language import nodes_with_paths
from domain.segments.leaves.leaf import LeafCondition, bind_leaf
from domain.segments.profile_facts import ProfileFacts
from domain.segments.register_bounds import RegisterBound, owner_totals, register_bounds
from ops.apply.preview import ApplyPreview
from ops.cli.apply_answers import render_planned
from ops.cli.bounds_table import render_bounds
from tests.support.events import START_MS, event
from tests.support.segments import computed, segment

CHARS = 6
TEXT_BYTES = 4 * CHARS + 1
"""Of a text of six characters as it is kept: four bytes each, and a word for its kind."""


def single_leaf_plan(where: Any) -> list[RegisterBound]:
    return [bound for bound in register_bounds(segment_plan_of([segment("s", where)])) if bound.owner == "s"]


DEFINITIONS: list[AnyDefinition] = [
    segment("counts", {"all": [{"did": {"event": "e", "exactly": 3}}, {"not": {"did_not": {"event": "e", "within": "1h"}}}]}),
    segment("first", {"first": {"event": "e", "having": [{"prop": "t", "value": "a"}]}}),
    segment("last", {"last": {"event": "$identify"}}),
    segment("sums", {"any": [
        {"aggregate": {"of": of, "event": "e", "prop": "n", "value": 3, "keep": 4, **window}}
        for of in ("sum", "avg", "min", "max", "distinct") for window in ({}, {"within": "2h"})
    ]}),
    segment("then", {"any": [
        {"sequence": {"first": {"event": "e", "pick": pick, **window}, "keep": 5, follow: {"event": "f", **after, "same": same}}}
        for pick in ("last", "first", "any") for window in ({}, {"within": "2h"}) for follow in ("then", "then_not")
        for after in ({}, {"within": "30m"}) for same in ([], ["t"], ["t", "n"])
    ]}),
    segment("often", {"regularly": {"event": "e", "every": "10m", "at_least": 2, "of": 6}}),
    segment("said", {"all": [{"consent": {"purpose": "ads"}}, {"subscribed": {"channel": "sms"}}]}),
    *(
        computed(f"{kind}-{index}".replace("_", "-"), {kind: {"event": "e", "prop": "t", "keep": 3, **window}})
        for kind in ("most_frequent", "unique") for index, window in enumerate(({}, {"within": "1h"}))
    ),
    *(
        computed(f"{kind}-{index}", {kind: {"event": "e", "prop": "n", "keep": 3, **window}})
        for kind in ("sum", "avg", "min", "max") for index, window in enumerate(({}, {"within": "1h"}))
    ),
    computed("times", {"count": {"event": "e", "within": "1h", "keep": 2}}),
    computed("latest", {"last": {"event": "e", "prop": "t"}}),
]  # fmt: skip
PLAN = segment_plan_of(DEFINITIONS)
BOUNDS = register_bounds(PLAN, TEXT_BYTES)
BY_KEY = {bound.register.key: bound for bound in BOUNDS}

texts = st.text(max_size=CHARS).filter(
    lambda text: len(unicodedata.normalize("NFC", text)) <= CHARS and not set(text) & {"\\", "\n"}
)
values = st.none() | texts | st.booleans() | st.integers(-(10**13), 10**13) | st.floats(-1e13, 1e13)
happenings = st.tuples(
    st.sampled_from(["e", "e", "f", "identify", "consent"]),
    st.integers(0, 6 * 3_600_000),
    st.sampled_from(["a", "b", "c"]) | values,
    st.integers(-3, 3) | values,
    st.booleans(),
)


def event_from(number: int, happening: tuple[str, int, Any, Any, bool]) -> Any:
    what, after_ms, text, amount, yes = happening
    context: dict[str, Any] = {}
    if what == "identify":
        context = {"messaging_subscriptions": [{"type": "SMS", "status": "SUBSCRIBED" if yes else "UNSUBSCRIBED"}]}
    elif what == "consent":
        context = {"consent": {"categoryPreferences": {"ads": yes}}}
    name = {"identify": "", "consent": "Segment Consent Preference Updated"}.get(what, what)
    return event(
        {"user_id": "u"},
        id=f"m{number}",
        type="identify" if what == "identify" else "track",
        name=name,
        time_ms=START_MS + after_ms,
        properties={"t": text, "n": amount},
        context=context,
    )


@given(st.lists(happenings, max_size=40), st.lists(happenings, max_size=40))
def test_no_state_of_any_events_is_larger_than_its_bound(mine: Any, others: Any) -> None:
    fragments = [Fragment(), Fragment()]
    for number, (fragment, happening) in enumerate([*((fragments[0], h) for h in mine), *((fragments[1], h) for h in others)]):
        apply_event(fragment, event_from(number, happening), PLAN)
    joined = join_fragments(fragments, PLAN.registers)
    states = [(joined.register_entries, joined.tallies), *((fragment.register_entries, fragment.tallies) for fragment in fragments)]
    for registers, tallies in states:
        for key, kept in (*registers.items(), *tallies.items()):
            assert len(kept) <= BY_KEY[key].entries
            assert len(msgspec.msgpack.encode({key: kept})) - 1 <= BY_KEY[key].bytes
    facts = ProfileFacts(register_entries=joined.register_entries, tallies=joined.tallies)
    for (owner, path), exact in always_exact().items():
        assert not (exact and approximate(owner, path, facts)), (owner, path)


def always_exact() -> dict[tuple[str, str], bool]:
    """Return for each leaf and computed trait whether it is exact under any events."""
    found: dict[tuple[str, str], bool] = {}
    for bound in BOUNDS:
        place = bound.owner, bound.path.removesuffix(".first").removesuffix(".then").removesuffix(".then_not")
        place = place if ".sequence" in bound.path else (bound.owner, bound.path)
        found[place] = found.get(place, True) and not bound.exact_while
    return found


def approximate(owner: str, path: str, facts: ProfileFacts) -> bool:
    now_ms = START_MS + 6 * 3_600_000
    if owner.startswith("computed."):
        name = owner.removeprefix("computed.")
        return PLAN.evaluate_computed(facts, now_ms, [name])[name].is_approximate
    node = dict(nodes_with_paths(PLAN.segments[owner].where))[path]
    assert isinstance(node, LeafCondition)
    return bind_leaf(node, PLAN.registers, {})(facts, now_ms).is_approximate


def test_every_register_of_the_plan_has_a_bound_and_every_leaf_is_named_as_it_was_written() -> None:
    assert BY_KEY.keys() == PLAN.registers.keys()
    paths = [bound.path for bound in BOUNDS if bound.owner in ("counts", "said")]
    assert paths == ["where.all.0.did", "where.all.1.not.did_not", "where.all.0.consent", "where.all.1.subscribed"]
    assert {"where.any.0.sequence.first", "where.any.0.sequence.then"} <= {bound.path for bound in BOUNDS}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"did": {"event": "e"}}, [(1, "")]),
        ({"did": {"event": "e", "at_least": 3, "at_most": 7}}, [(8, "")]),
        ({"did": {"event": "e", "exactly": 0}}, [(1, "")]),
        ({"aggregate": {"of": "sum", "event": "e", "prop": "n", "value": 1}}, [(1, "")]),
        (
            {"aggregate": {"of": "sum", "event": "e", "prop": "n", "value": 1, "within": "90d", "keep": 50}},
            [(51, "at most 50 such events are within 90d")],
        ),
        ({"sequence": {"first": {"event": "e"}, "then": {"event": "f"}}}, [(1, ""), (1, "")]),
        (
            {"sequence": {"first": {"event": "e", "within": "1h"}, "then": {"event": "f", "same": ["cart"]}}},
            [(301, "at most 300 different values of cart are within 1h")] * 2,
        ),
        (
            {"sequence": {"first": {"event": "e"}, "then_not": {"event": "f", "within": "30m"}}},
            [(1, ""), (301, "at most 300 such events have come")],
        ),
        ({"regularly": {"event": "e", "every": "7d", "at_least": 3, "of": 4}}, [(4, "")]),
        ({"trait": {"path": "a", "value": 1}}, []),
        ({"in_segment": "other"}, []),
    ],
)
def test_how_much_is_kept_and_up_to_where_it_is_exact(where: Any, expected: list[tuple[int, str]]) -> None:
    assert [(bound.entries, bound.exact_while) for bound in single_leaf_plan(where)] == expected


def test_shared_register_is_listed_once_with_the_largest_bound() -> None:
    plan = segment_plan_of([segment("a", {"did": {"event": "e"}}), segment("b", {"did": {"event": "e", "at_least": 9}})])
    found = {bound.owner: bound for bound in register_bounds(plan)}
    assert found["a"].shared_with == ("b",)
    assert found["b"].shared_with == ("a",)
    assert found["a"].entries == 9
    sums = {total.owner: total for total in owner_totals(register_bounds(plan))}
    shipped = sums["computed.rfm"].entries + sums["computed.lifecycle"].entries
    assert sums[""].entries == 9 + shipped
    assert sums[""].bytes < sum(total.bytes for owner, total in sums.items() if owner)


def test_longer_texts_take_more_of_those_registers_alone_that_keep_texts() -> None:
    short, long = (sum(bound.bytes for bound in register_bounds(PLAN, size) if bound.owner == "then") for size in (10, 1_000))
    assert long > short
    assert [bound.bytes for bound in register_bounds(PLAN, 10) if bound.owner == "counts"] == [
        bound.bytes for bound in register_bounds(PLAN, 1_000) if bound.owner == "counts"
    ]


def test_the_table_fits_eighty_columns_whatever_the_names() -> None:
    where: Any = {"sequence": {"first": {"event": "e"}, "then_not": {"event": "f", "within": "30m", "same": ["cart_id"]}}}
    for _ in range(12):
        where = {"not": where}
    found = register_bounds(segment_plan_of([*DEFINITIONS, segment("k" * 63, where)]))
    console = Console(width=80, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(render_bounds(found))
    text = shown.get()
    assert max(map(len, text.splitlines())) <= 80
    for word in ("k" * 20, "total", "exact while at most 300", "shared with", "301"):
        assert word in text
    with console.capture() as shown:
        console.print(render_bounds(found, owners=["counts"]))
    assert "counts" in shown.get()
    assert "computed.rfm" not in shown.get().replace("shared with", "")


def test_plan_shows_what_new_definitions_keep_in_eighty_columns() -> None:
    found = tuple(bound for bound in BOUNDS if bound.owner in ("then", "sums"))
    console = Console(width=80)
    with console.capture() as shown:
        console.print(render_planned(ApplyPreview({"Segment/then": "create"}, bounds=found)))
    assert "exact while at most 5" in " ".join(shown.get().split())
    assert "total" in shown.get()
