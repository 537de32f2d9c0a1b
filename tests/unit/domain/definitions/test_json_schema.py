"""The published JSON Schemas say what the models say."""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from domain.definitions.json_schema import ANY_KIND, MODEL_BY_SLUG, definition_schema
from domain.definitions.kinds import InvalidDefinition, encode_definition, parse_definition
from domain.definitions.yaml_text import yaml_documents
from domain.segments.language import KEYWORDS

DEMO = Path(__file__).parents[4] / "demo/definitions"


def node(where: Any) -> dict[str, Any]:
    return {"apiVersion": "onefold/v1", "kind": "Segment", "metadata": {"name": "a"}, "spec": {"where": where}}


def computed(spec: Any) -> dict[str, Any]:
    return {"apiVersion": "onefold/v1", "kind": "ComputedTrait", "metadata": {"name": "a"}, "spec": spec}


@lru_cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(definition_schema(name))


def fits(document: Any, name: str = ANY_KIND) -> bool:
    return bool(validator(name).is_valid(document))


def is_read(document: Any) -> bool:
    try:
        parse_definition(document, "test")
    except InvalidDefinition:
        return False
    return True


GOOD: list[dict[str, Any]] = [
    node(yaml.safe_load(text))
    for text in (
        "{trait: {path: address.city, op: in, value: [Hà Nội, Huế], fold: true}}",
        "{trait: {path: age, op: gte, value: 18}}",
        "{trait: {path: member, value: true}}",
        "{trait: {path: email, op: exists}}",
        "{trait: {path: email, op: exists, value: false}}",
        "{trait: {path: renewal, op: before, value: '2026-11-22'}}",
        "{trait: {path: renewal, op: within_next, value: 14d}}",
        "{did: {event: a, at_least: 2, at_most: 4, within: 7d, where: [{prop: total, op: gt, value: 0.5}]}}",
        "{did: {event: a, exactly: 0}}",
        "{did_not: {event: a}}",
        "{first: {event: a, within: 30d, having: [{prop: b, value: c}]}}",
        "{last: {event: a, not_within: 7d, within: 30d}}",
        "{aggregate: {of: distinct, event: a, prop: sku, op: eq, value: 3, within: 30d, keep: 10}}",
        "{sequence: {first: {event: a, pick: any, within: 1h}, then_not: {event: b, within: 30m, same: [cart_id]}}}",
        "{sequence: {first: {event: a}, then: {event: b}}}",
        "{regularly: {event: a, every: 7d, at_least: 3, of: 4, utc_offset: '+07:00'}}",
        "{in_segment: vip}",
        "{list: staff}",
        "{percent: {of: 12.5, salt: test}}",
        "{rfm: {recency: [4, 5], monetary: [5]}}",
        "{lifecycle: {stage: [at_risk, lost]}}",
        "{consent: {purpose: marketing, status: denied}}",
        "{subscribed: {channel: sms}}",
        "{calendar: {trait: birthday, before: 3, days: 4, zone: Asia/Ho_Chi_Minh}}",
        "{account: {trait: {path: plan, value: gold}, members: {at_least: 5}}}",
        "{household: {did: {event: a}}}",
        "{everyone: true}",
        "{all: [{any: [{everyone: true}]}, {not: {not: {everyone: true}}}]}",
    )
] + [
    computed(yaml.safe_load(text))
    for text in (
        "{count: {event: a, within: 30d}}",
        "{sum: {event: a, prop: total}}",
        "{avg: {event: a, prop: total, within: 90d, keep: 1000}}",
        "{first: {event: a, prop: campaign}}",
        "{most_frequent: {event: a, prop: category}}",
        "{unique: {event: a, prop: sku, within: 30d, keep: 10}}",
        "{days_since: {event: a, which: first}}",
        "{rfm: {within: 365d, recency: [30d, 60d, 90d, 120d], frequency: [1, 2, 3, 4], monetary: [1, 2.5, 3, 4]}}",
        "{lifecycle: {at_risk_after: 90d, lost_after: 180d, loyal_orders: 10}}",
    )
]  # fmt: skip

BAD: list[Any] = [
    node(yaml.safe_load(text))
    for text in (
        "{}", "[]", "did", "{dids: {event: a}}", "{did: {event: a}, everyone: true}", "{did: {event: a, evnt: b}}", "{did: {}}",
        "{did: {event: ''}}", "{did: {event: a, within: 7}}", "{did: {event: a, within: 0d}}", "{did: {event: a, within: 7 d}}",
        "{did: {event: a, at_least: 0}}", "{did: {event: a, at_least: '2'}}", "{did: {event: a, at_least: true}}",
        "{did: {event: a, at_least: 2, exactly: 2}}", "{did: {event: a, at_most: 1001}}", "{everyone: false}", "{all: []}",
        "{not: []}", "{trait: {path: a}}", "{trait: {path: a, value: {}}}", "{trait: {path: a, value: [1]}}",
        "{trait: {path: a, op: in, value: 1}}", "{trait: {path: a, op: in, value: []}}", "{trait: {path: a, op: like, value: x}}",
        "{trait: {path: a, op: exists, value: 1}}", "{trait: {path: a, op: before, value: soon}}",
        "{trait: {path: a, op: within_last, value: 7}}", "{trait: {path: a, op: within_last, value: 7d, fold: true}}",
        "{trait: {path: a, op: gt, value: 7, fold: true}}", "{trait: {path: a, value: x, fold: 'yes'}}",
        "{did: {event: a, where: [{prop: b, op: within_last, value: 7d}]}}", "{did: {event: a, where: {prop: b, value: 1}}}",
        "{sequence: {first: {event: a}}}", "{sequence: {first: {event: a}, then: {event: b}, then_not: {event: c}}}",
        "{sequence: {first: {event: a, pick: newest}, then: {event: b}}}", "{aggregate: {of: sum, event: a, prop: b, value: '1'}}",
        "{regularly: {event: a, every: 7d, at_least: 1, of: 1, utc_offset: '7'}}", "{percent: {of: 0, salt: a}}",
        "{percent: {of: '5', salt: a}}", "{rfm: {}}", "{rfm: {recency: [6]}}", "{lifecycle: {stage: []}}",
        "{lifecycle: {stage: [gone]}}", "{consent: {purpose: a, status: yes}}", "{calendar: {trait: b, before: 181}}",
        "{account: {}}", "{household: {}}", "{account: {trait: {path: computed.rfm, op: exists}}}",
        "{household: {trait: {path: a, op: within_last, value: 7d}}}", "{household: {did: {event: a, within: 7d}}}",
        "{in_segment: Khách VIP}",
    )
] + [
    computed(yaml.safe_load(text))
    for text in (
        "{}", "{count: {event: a}, sum: {event: a, prop: b}}", "{median: {event: a, prop: b}}", "{sum: {event: a}}",
        "{count: {event: a, keep: 3001}}", "{unique: {event: a, prop: b, keep: 0}}",
        "{rfm: {within: 1d, recency: [1d, 2d, 3d], frequency: [1, 2, 3, 4], monetary: [1, 2, 3, 4]}}",
        "{lifecycle: {at_risk_after: 1d}}",
    )
] + [
    {},
    [],
    {"kind": "Segment"},
    {**GOOD[0], "kind": "Segmnt"},
    {**GOOD[0], "apiVersion": "onefold/v2"},
    {**GOOD[0], "metadata": {"name": "A b"}},
    {**GOOD[0], "extra": 1},
]  # fmt: skip


@pytest.mark.parametrize("name", [*MODEL_BY_SLUG, ANY_KIND])
def test_every_schema_is_one_of_its_dialect_and_refers_to_what_is_there(name: str) -> None:
    made = definition_schema(name)
    Draft202012Validator.check_schema(made)
    text = str(made)
    assert all(f"#/$defs/{defined}'" in text for defined in made["$defs"])
    assert "'null'" not in text


@pytest.mark.parametrize("document", GOOD, ids=lambda one: str(one["spec"]))
def test_what_the_models_read_fits_and_nothing_is_left_out_of_it(document: Any) -> None:
    assert is_read(document)
    assert fits(document)
    assert fits(document, {"Segment": "segment", "ComputedTrait": "computed-trait"}[document["kind"]])


@pytest.mark.parametrize("document", BAD, ids=str)
def test_what_the_models_refuse_does_not_fit(document: Any) -> None:
    assert not is_read(document)
    assert not fits(document)


def test_the_shipped_definitions_fit() -> None:
    documents = [document for path in sorted(DEMO.glob("*.yaml")) for document in yaml_documents(path.read_text())]
    assert documents
    for document in documents:
        validator(ANY_KIND).validate(document)


def test_every_word_of_the_language_is_in_the_schema_by_the_name_that_is_written_and_explained() -> None:
    defs = definition_schema("segment")["$defs"]
    words = defs["Node"]["properties"]
    assert tuple(words) == KEYWORDS
    for word in words.values():
        assert word.get("description") or defs[word["$ref"].rsplit("/")[-1]].get("description")


def test_every_good_document_spoilt_by_a_key_or_a_missing_one_is_refused_by_both() -> None:
    for document in GOOD:
        for path, holder in holders(document["spec"]):
            spoilt = copy.deepcopy(document)
            at = follow(spoilt["spec"], path)
            at["nonsense"] = 1
            assert not is_read(spoilt)
            assert not fits(spoilt)
            for key in holder:
                less = copy.deepcopy(document)
                del follow(less["spec"], path)[key]
                assert is_read(less) == fits(less), less


def holders(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return all objects in a document, each with the path that leads to it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [one for key, child in inner for one in holders(child, (*path, key))]
    return [(path, value), *found] if isinstance(value, dict) else found


def follow(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def test_documents_are_written_on_the_topic_as_people_write_them() -> None:
    text = encode_definition(parse_definition(node({"not": {"did": {"event": "a", "within": "7d"}}}), "test")).decode()
    assert '"not":{"did"' in text
    assert '"within":"7d"' in text
