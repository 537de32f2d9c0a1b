"""What other rules would change, as a comparison of two resolutions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identity.clusters import Evidence
from domain.identity.model import Edge
from domain.identity.rule_changes import cluster_changes, compare_rules
from domain.identity.rules import DEFAULT_RULES, CompiledIdentityRules, IdentityRulesSpec
from ops.cli.identity_answers import preview as lines
from ops.identity.connect import load_rules_file
from ops.identity.preview import preview_to_json, shown_nodes
from runtime.errors import Invalid
from schemas.identifiers import node
from tests.support.events import SECRET

NODES = [f"{n:032x}" for n in range(8)]
labellings = st.lists(st.integers(0, 7), min_size=8, max_size=8).map(
    lambda groups: {
        member: min(n for n, g in zip(NODES, groups, strict=True) if g == group)
        for member, group in zip(NODES, groups, strict=True)
    }
)


@given(labellings, labellings)
def test_every_profile_that_changes_is_in_one_shift_and_no_other_is(before: dict[str, str], after: dict[str, str]) -> None:
    changes = cluster_changes(before, after)
    moved_nodes = [member for shift in changes for cluster in shift.before for member in cluster]
    assert len(moved_nodes) == len(set(moved_nodes))
    for shift in changes:
        assert {n for cluster in shift.before for n in cluster} == {n for cluster in shift.after for n in cluster}
        assert set(shift.before) != set(shift.after)
    for member in NODES:
        same = {n for n in NODES if before[n] == before[member]} == {n for n in NODES if after[n] == after[member]}
        assert same or member in moved_nodes
    assert not cluster_changes(before, before)


def edge(at_ms: int) -> Edge:
    return Edge(at_ms, f"e{at_ms}", at_ms, f"e{at_ms}", "shop")


def test_a_tighter_limit_makes_a_value_generic_and_splits_who_shared_it() -> None:
    names = {node(SECRET, pair): pair for pair in (("crm_id", "kh-1"), ("user_id", "u1"), ("email", "ánh@shop.vn"))}
    crm, user, email = names
    evidence = Evidence({(crm, email) if crm < email else (email, crm): edge(1), (user, email): edge(2)})
    spec = IdentityRulesSpec.model_validate({"namespaces": {"email": {"max_neighbours": 1}}})
    made = compare_rules((evidence, DEFAULT_RULES), (evidence, CompiledIdentityRules.from_spec(spec, secret=SECRET, country="VN")))
    assert made.count("split") == 1
    assert made.count("merge") == 0
    assert made.count("regroup") == 0
    assert made.current.profiles == 1
    assert made.current.largest == 3
    assert made.proposed.profiles == 0
    assert made.proposed.largest == 1
    assert made.proposed.linking_nobody == {"generic": 1}
    assert shown_nodes(made, 1) == set(names)
    text = "\n".join(lines(preview_to_json(made, 1, names)))
    assert "1 splits" in text
    assert "email:ánh@shop.vn" in text
    back = compare_rules((evidence, CompiledIdentityRules.from_spec(spec, secret=SECRET, country="VN")), (evidence, DEFAULT_RULES))
    assert back.count("merge") == 1


RULES = "apiVersion: onefold/v1\nkind: IdentityRules\nmetadata: {name: default}\nspec: {max_members: 20}\n"
SOURCE = "apiVersion: onefold/v1\nkind: Source\nmetadata: {name: shop}\nspec: {}\n"


def test_rules_are_read_from_a_file_that_may_hold_other_definitions(tmp_path: Path) -> None:
    path = tmp_path / "luật.yaml"
    path.write_text(f"{RULES}---\n{SOURCE}", encoding="utf-8")
    assert load_rules_file(path).max_members == 20


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"\xff\xfe", "UTF-8"),
        (SOURCE.encode(), "0 definitions of kind IdentityRules"),
        (f"{RULES}---\n{RULES}".encode(), "2 definitions"),
        (RULES.replace("20", "1").encode(), "max_members"),
        (b"{", "not YAML"),
        (b"", "0 definitions"),
    ],
)
def test_a_file_that_holds_no_rules_is_refused_with_the_reason(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "rules.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Invalid, match=says):
        load_rules_file(path)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        load_rules_file(tmp_path)
