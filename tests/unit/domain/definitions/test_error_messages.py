"""A definition that cannot be used: each fault on a line of its own, with the path as it was written and the cure."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definitions.kinds import MAX_DOCUMENT_BYTES, InvalidDefinition, Segment, load_yaml, parse_definition
from domain.segments.language import KEYWORDS, MAX_DEPTH, MAX_NODES

BESIDE = "a condition holds one word alone, here `did`: move the key into it, or list two conditions under `all`"


def document(where: Any, kind: str = "Segment") -> dict[str, Any]:
    spec = {"where": where} if kind == "Segment" else where
    return {"apiVersion": "onefold/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}


def error_lines(value: Any) -> list[str]:
    with pytest.raises(InvalidDefinition) as raised:
        parse_definition(value, "a.yaml")
    lines = str(raised.value).splitlines()
    assert all(line.startswith("a.yaml: ") for line in lines)
    return [line.removeprefix("a.yaml: ") for line in lines]


@pytest.mark.parametrize(
    ("node", "lines"),
    [
        ({"did": {"evnt": "x"}}, ["spec.where.did.evnt: unknown key: did you mean `event`?"]),
        ({"did": {}}, ["spec.where.did.event: is missing: add it"]),
        ({"did": {"event": ""}}, ["spec.where.did.event: must not be empty"]),
        ({"did": {"event": 5}}, ["spec.where.did.event: must be text"]),
        ({"did": None}, ["spec.where.did: must be keys and values"]),
        (
            {"did": {"event": "x", "at_least": 2, "exactly": 2}},
            ["spec.where.did: `exactly` stands alone: leave out `at_least` and `at_most`"],
        ),
        ({"did": {"event": "x", "at_least": "2"}}, ["spec.where.did.at_least: must be a whole number"]),
        ({"did": {"event": "x", "at_least": True}}, ["spec.where.did.at_least: must be a whole number"]),
        ({"did": {"event": "x", "at_least": 5_000}}, ["spec.where.did.at_least: must be at most 1000"]),
        ({"did": {"event": "x", "where": {"prop": "a"}}}, ["spec.where.did.where: must be a list"]),
        ({"dids": {}}, ["spec.where: `dids` is no condition: did you mean `did`?"]),
        ({"and": []}, ["spec.where: `and` is no condition: did you mean `all`?"]),
        ("did", ["spec.where: must be a condition, such as {did: {event: Order Completed}}"]),
        ({"all": []}, ["spec.where.all: needs at least 1"]),
        ({"everyone": False}, ["spec.where.everyone: must be true"]),
        ({"rfm": {"recency": [6]}}, ["spec.where.rfm.recency.0: must be at most 5"]),
        ({"trait": {"path": "a", "value": None}}, ["spec.where.trait: `eq` takes one value: a string, a number or a boolean"]),
        ({"trait": {"path": "a", "value": {}}}, ["spec.where.trait.value: must be text, a number, true or false, a list"]),
        (
            {"trait": {"path": "a", "op": "in", "value": [1, None]}},
            ["spec.where.trait.value.1: must be text, a number, true or false"],
        ),
        (
            {"aggregate": {"of": "summ", "event": "x", "prop": "y", "value": 1}},
            ["spec.where.aggregate.of: must be one of sum, avg, min, max, distinct: did you mean `sum`?"],
        ),
        (
            {"calendar": {"trait": "birthday", "zone": "Hanoi"}},
            ["spec.where.calendar.zone: not a time zone: name one of the IANA database, such as Asia/Ho_Chi_Minh"],
        ),
        (
            {"did": {"event": "x"}, "not": {"everyone": True}},
            ["spec.where: holds several conditions, did, not: list them under `all` or `any`"],
        ),
        (
            {"did": {"event": "x"}, "within": "7d"},
            [f"spec.where.within: {BESIDE}"],
        ),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_with_the_path_and_the_cure(node: Any, lines: list[str]) -> None:
    assert error_lines(document(node)) == lines


def test_faults_come_in_the_order_of_the_document_whatever_the_order_of_the_fields() -> None:
    where = {
        "any": [
            {"all": [{"not": {"did": {"within": "7", "event": "x"}}}, {"trait": {"op": "inn", "path": ""}}]},
            {"sequence": {"then": {"event": "b", "same": "id"}, "first": {"event": "a", "pick": "newest"}}},
        ]
    }
    assert [line.split(":")[0] for line in error_lines(document(where))] == [
        "spec.where.any.0.all.0.not.did.within",
        "spec.where.any.0.all.1.trait.op",
        "spec.where.any.0.all.1.trait.path",
        "spec.where.any.1.sequence.then.same",
        "spec.where.any.1.sequence.first.pick",
    ]


def test_all_of_a_list_at_fault_is_not_called_empty() -> None:
    assert error_lines(document({"all": [{"did": {"event": ""}}]})) == ["spec.where.all.0.did.event: must not be empty"]


def test_a_key_of_the_same_name_as_the_word_around_it_is_found() -> None:
    assert error_lines(document({"did": {"did": 1, "event": ""}})) == [
        "spec.where.did.did: unknown key: leave it out; known are event, where, within, at_least, at_most, exactly",
        "spec.where.did.event: must not be empty",
    ]


def test_computed_traits_and_other_kinds_are_explained_alike() -> None:
    assert error_lines(document({"cunt": {}, "count": {"event": "x", "keep": 0}}, "ComputedTrait")) == [
        "spec.cunt: unknown key: did you mean `count`?",
        "spec.count.keep: must be at least 1",
    ]
    rfm = {"rfm": {"within": "1d", "recency": ["1d", "2d"], "frequency": [1, 2, 3, "x"], "monetary": [4, 3, 2, 1]}}
    assert error_lines(document(rfm, "ComputedTrait")) == [
        "spec.rfm.recency: has too few entries",
        "spec.rfm.frequency.3: must be a number",
    ]
    hook = {"signature": {"scheme": "hmac", "headr": "x", "secret_env": "A"}, "mapping": {"rules": [{"ignore": True}]}}
    assert error_lines(document({"webhook": hook}, "Source")) == [
        "spec.webhook.signature.headr: unknown key: did you mean `header`?"
    ]
    assert error_lines(document({"webhook": {**hook, "signature": {"scheme": "hmak"}}}, "Source")) == [
        "spec.webhook.signature.scheme: must be one of standard, hmac, twilio, token: did you mean `hmac`?"
    ]


def test_the_head_of_a_document_is_explained() -> None:
    assert error_lines({"apiVersion": "onefold/v2", "kind": "Segment"}) == [
        "apiVersion: must be onefold/v1",
        "metadata: is missing: add it",
        "spec: is missing: add it",
    ]
    assert error_lines({"kind": "Segmnt"})[0].endswith("did you mean `Segment`?")
    assert error_lines({"spec": 1}) == ["kind: is missing: add it"]
    assert error_lines([]) == ["document: must be keys and values"]
    name = document({"everyone": True}) | {"metadata": {"name": "Khách VIP"}}
    assert error_lines(name) == [
        "metadata.name: a name is 1 to 63 small letters a-z, digits and hyphens, and begins with a letter or digit"
    ]


def test_error_messages_quote_only_short_keys() -> None:
    value = "nguyen.van.a@example.vn " * 50
    where = {"all": [{"trait": {"path": "a", "op": value, "value": 1}}, {"did": {"event": value, value: 1, "within": value}}]}
    text = "\n".join(error_lines(document(where)))
    assert len(max(text.splitlines(), key=len)) < 400
    assert text.count("nguyen.van.a@example.vn") <= 3
    assert "\\x00" in "\n".join(error_lines(document({"did": {"event": "x", "a\x00\n": 1}})))


def test_many_faults_are_counted() -> None:
    lines = error_lines(document({"all": [{"did": {"event": ""}}] * 50}))
    assert len(lines) == 13
    assert lines[-1] == "and 38 more"


def nested(levels: int, inner: Any, word: str = "not") -> Any:
    for _ in range(levels):
        inner = {word: inner if word == "not" else [inner]}
    return inner


def test_trees_are_bounded_in_depth_and_size() -> None:
    parse_definition(document(nested(MAX_DEPTH, {"everyone": True})), "a")
    for word in ("not", "any"):
        assert f"deeper than {MAX_DEPTH}" in error_lines(document(nested(MAX_DEPTH + 1, {"everyone": True}, word)))[0]
    fits = [{"any": [{"everyone": True}] * 98}] * 5
    parse_definition(document({"all": fits}), "a")
    assert f"more than {MAX_NODES} conditions" in error_lines(document({"all": [*fits, {"any": [{"everyone": True}] * 9}]}))[0]


@pytest.mark.parametrize("opening", ["{not: ", "[", '{"all": [', "- "])
def test_ten_thousand_levels_of_text_are_refused_in_a_line(opening: str) -> None:
    closing = {"{": "}", "[": "]"}
    end = "".join(closing[letter] for letter in reversed(opening) if letter in closing)
    where = opening * 10_000 + "{everyone: true}" + end * 10_000
    text = f"{{apiVersion: onefold/v1, kind: Segment, metadata: {{name: a}}, spec: {{where: {where}}}}}"
    with pytest.raises(InvalidDefinition) as raised:
        load_yaml(where if opening == "- " else text, "a.yaml")
    assert str(raised.value) == "a.yaml: nested deeper than 64 levels: make it flatter"


@pytest.mark.parametrize("kind", ["Segment", "TrackingPlan", "Source"])
def test_ten_thousand_levels_of_values_are_refused_too(kind: str) -> None:
    before = sys.getrecursionlimit()
    for word in ("not", "any", "items"):
        [line] = error_lines(document(nested(10_000, {}, word), kind))
        assert "deeper than" in line
    assert sys.getrecursionlimit() == before


def test_aliases_that_multiply_or_lead_to_themselves_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    for text in ("\n".join(lines), "a: &a [*a]", "a: &a {b: *a}"):
        with pytest.raises(InvalidDefinition, match=r"nested deeper|holds more than"):
            load_yaml(text, "a.yaml")
    merges = ["a0: &a0 {k: x}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12))]
    with pytest.raises(InvalidDefinition):
        load_yaml("\n".join(merges), "a.yaml")


def test_an_alias_may_save_words() -> None:
    text = (
        "apiVersion: onefold/v1\nkind: Segment\nmetadata: {name: a}\n"
        "spec: {where: {any: [{did: &order {event: Đặt hàng, within: 7d}}, {not: {did: *order}}]}}"
    )
    [found] = load_yaml(text, "a.yaml")
    assert isinstance(found, Segment)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("kind: [", "not YAML: expected the node content, but found '<stream end>', line 1, column 8"),
        ("kind: Segment\nkind: Source", "not YAML: a key is written twice: keep one, line 1, column 1"),
        ("? [a]\n: b", "not YAML: found unhashable key, line 1, column 3"),
        ("a: " + "1" * 5_000, "a number is too long: write it as text"),
        ("a: " + "x" * MAX_DOCUMENT_BYTES, f"larger than {MAX_DOCUMENT_BYTES} bytes: split it into several files"),
    ],
)
def test_text_that_is_no_yaml_is_refused_with_its_place(text: str, line: str) -> None:
    with pytest.raises(InvalidDefinition) as raised:
        load_yaml(text, "a.yaml")
    assert str(raised.value) == f"a.yaml: {line}"


def test_dates_times_and_phones_need_no_quotes_and_numbers_stay_numbers() -> None:
    for written, value in (
        ("2026-11-22", "2026-11-22"), ("2026-11-22T09:00:00+07:00", "2026-11-22T09:00:00+07:00"), ("12:30", "12:30"),
        ("0912345678", "0912345678"), ("007", "007"), ("no", "no"), ("1_000_000", 1_000_000), ("1e6", 1e6), ("-0.5", -0.5),
        (".5", 0.5), ("true", True),
    ):  # fmt: skip
        where = f"{{trait: {{path: t, value: {written}}}}}"
        text = f"{{apiVersion: onefold/v1, kind: Segment, metadata: {{name: a}}, spec: {{where: {where}}}}}"
        [found] = load_yaml(text, "a.yaml")
        assert isinstance(found, Segment)
        held = found.spec.where.trait.value  # type: ignore[union-attr]  # it is a trait
        assert held == value
        assert type(held) is type(value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
words = st.sampled_from([*KEYWORDS, "event", "where", "within", "value", "op", "prop", "path", "of", "first", "then", "same"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(values)
def test_any_input_is_read_or_refused_without_pydantic_text(value: Any) -> None:
    try:
        parse_definition(document(value), "a.yaml")
    except InvalidDefinition as error:
        lines = str(error).splitlines()
        assert lines
        for line in lines:
            assert line.startswith(("a.yaml: spec", "a.yaml: and"))
            assert not any(
                word in line for word in ("Value error", "Input should", "Extra inputs", "literal[", "constrained", "tuple[")
            )


@pytest.mark.parametrize("value", ["soon", "2026-13-01T00:00:00Z"])
def test_an_instant_that_cannot_be_read_is_explained_in_our_words(value: Any) -> None:
    key = {"sha256": "a" * 64, "valid_until": value}
    [line] = error_lines(document({"write_keys": [key]}, "Source"))
    assert line.startswith("spec.write_keys.0.valid_until: must be a")
    assert "2026-01-31T09:00:00+07:00" in line
