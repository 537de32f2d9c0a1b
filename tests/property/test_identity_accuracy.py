"""Clusters beside the truth: the FEBRL data sets through the agents' steps, shuffled, partly sent twice, with crashes."""

import pytest

from domain.identity.model import MAX_NEIGHBOURS
from domain.identity.rules import MAX_MEMBERS
from tests.support.febrl import FILES, composite, groups_by_shared_keys, read_records, score, ssn, ssn_and_composites
from tests.support.identity_accuracy import RULES, closed_form, cluster_at_once, cluster_by_stream, same_grouping, shared_field_rule

SIZES = {"FEBRL 1": (1_000, 500), "FEBRL 2": (5_000, 4_000), "FEBRL 3": (5_000, 2_000), "FEBRL 4": (10_000, 5_000)}


@pytest.mark.parametrize("name", FILES)
def test_the_data_sets_are_whole(name: str) -> None:
    records = read_records(name)
    assert (len(records), len({person.truth for person in records})) == SIZES[name]
    assert len({person.id for person in records}) == len(records)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", FILES)
async def test_an_exact_key_has_full_precision_and_the_computed_recall(name: str, seed: int) -> None:
    records = read_records(name)
    groups = await cluster_by_stream(name, ssn, seed, crash_rate=0.1)
    figures = score(records, groups)
    assert figures.precision == 1.0
    assert figures.recall == closed_form(records)
    assert figures.clusters == len({person.fields["soc_sec_id"] for person in records})
    assert same_grouping(groups, groups_by_shared_keys(records, ssn))
    assert groups == cluster_at_once(name, ssn).groups


@pytest.mark.parametrize("name", FILES)
async def test_composite_keys_raise_recall_at_full_precision(name: str) -> None:
    records = read_records(name)
    groups = await cluster_by_stream(name, ssn_and_composites, 3, "many numbers", crash_rate=0.1)
    assert score(records, groups).precision == 1.0
    assert score(records, groups).recall > closed_form(records)
    assert same_grouping(groups, groups_by_shared_keys(records, ssn_and_composites))
    assert groups == cluster_at_once(name, ssn_and_composites, "many numbers").groups


@pytest.mark.parametrize("name", FILES)
def test_the_closed_form_of_recall_equals_counting_pairs(name: str) -> None:
    records = sorted(read_records(name), key=lambda person: person.truth)[:1_000]
    pairs = [(a, b) for n, a in enumerate(records) for b in records[:n] if a.truth == b.truth]
    equal = sum(a.fields["soc_sec_id"] == b.fields["soc_sec_id"] for a, b in pairs)
    assert closed_form(records) == equal / len(pairs)


@pytest.mark.parametrize("field", ["date_of_birth", "surname"])
async def test_a_shared_value_joins_no_records_with_different_numbers(field: str) -> None:
    records = read_records("FEBRL 3")
    groups = await cluster_by_stream("FEBRL 3", shared_field_rule(field), 4, crash_rate=0.1)
    assert score(records, groups).precision == 1.0
    assert score(records, groups).recall == closed_form(records)
    assert groups == cluster_at_once("FEBRL 3", shared_field_rule(field)).groups


def test_without_limits_a_shared_value_joins_thousands() -> None:
    records = read_records("FEBRL 4")
    giant = cluster_at_once("FEBRL 4", shared_field_rule("surname"), "none")
    assert score(records, giant.groups).largest > 3_000
    assert score(records, giant.groups).precision < 0.01
    assert same_grouping(giant.groups, groups_by_shared_keys(records, shared_field_rule("surname")))


def test_each_identity_limit_alone_is_respected() -> None:
    by_size = cluster_at_once("FEBRL 4", shared_field_rule("surname"), "only `max_members`")
    assert by_size.members <= MAX_MEMBERS
    generic = cluster_at_once("FEBRL 4", shared_field_rule("surname"), "only `max_neighbours`")
    most = RULES["shipped"].max_neighbours["device_id"]
    assert most is not None
    numbers: dict[str, set[str]] = {}
    for person in read_records("FEBRL 4"):
        if key := composite(person, ("surname",)):
            numbers.setdefault(key, set()).add(person.fields["soc_sec_id"])
    assert max(len(seen) for seen in numbers.values()) < MAX_NEIGHBOURS
    assert generic.dead == {"generic": sum(len(seen) for seen in numbers.values() if len(seen) > most)}
