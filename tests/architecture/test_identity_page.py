"""docs/identity.md says what the code says and what was measured."""

import re
from pathlib import Path
from typing import get_args

from domain.definitions.kinds import IdentityRules, load_yaml
from domain.identity.identifier_values import NormalForm, normalise
from domain.identity.model import MAX_NEIGHBOURS
from domain.identity.rules import (
    DEFAULT_MAX_NEIGHBOURS,
    DEFAULT_MAX_PER_PROFILE,
    DEFAULT_RULES,
    MAX_MEMBERS,
    MAX_OWN_NAMESPACES,
    CompiledIdentityRules,
    IdentityRulesSpec,
)
from schemas.identifiers import NAMESPACE_RANK, OWNER_ORDER, namespace_key
from tests.support.identity_accuracy import accuracy_table, overmerge_table

PAGE = (Path(__file__).parents[2] / "docs" / "identity.md").read_text(encoding="utf-8")


def test_the_defaults_are_those_that_ship() -> None:
    rows = []
    for name, rank in sorted(NAMESPACE_RANK.items(), key=lambda item: item[1]):
        limits = f"{DEFAULT_MAX_NEIGHBOURS[name] or 'unlimited'} | {DEFAULT_MAX_PER_PROFILE.get(name) or 'unlimited'}"
        rows.append(f"| {rank} | `{name}` | {OWNER_ORDER.index(name) + 1} | {limits} |")
    assert "\n".join(rows) in PAGE
    assert f"`max_members` ({MAX_MEMBERS:,})" in PAGE
    assert f"more than {MAX_NEIGHBOURS:,} neighbours" in PAGE
    assert DEFAULT_RULES.prefer == "last"


def test_values_that_name_nobody_are_blocked() -> None:
    table = PAGE.partition("| Written by | Values such as |")[2].partition("\n\n")[0]
    quoted = re.findall(r"`([^`]+)`", table.replace("\\|", "|"))
    assert "test@test.com" in quoted
    for value in quoted:
        is_domain = value == "example.com"
        is_phone = value.isdigit() and len(value) == 10
        assert normalise("phone" if is_phone else "user_id", f"an@{value}" if is_domain else value, "VN") is None, value


def test_spellings_are_those_of_the_page() -> None:
    for written, spelling in (
        ("028 3822 1234 máy lẻ 12", "+842838221234;ext=12"),
        ("0120 838 6688", "+84708386688"),
        ("84912345678.0", "+84912345678"),
        ("8.4912345678E+10", "+84912345678"),
    ):
        assert written in PAGE.replace("\n", "").replace("1234  máy", "1234 máy")
        assert f"`{spelling}`" in PAGE
        assert normalise("phone", written, "VN") == spelling


def test_the_examples_are_definitions() -> None:
    examples = [text for text in re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL) if "IdentityRules" in text]
    documents = [document for example in examples for document in load_yaml(example, "docs/identity.md")]
    assert len(documents) == 2
    assert all(isinstance(document, IdentityRules) for document in documents)


def test_the_forms_of_namespaces_are_those_of_the_page() -> None:
    table = PAGE.partition("| `normalise` | What becomes one value |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert named == list(get_args(NormalForm))
    spec = {"namespaces": {"own": {"rank": 1}}}
    rules = CompiledIdentityRules.from_spec(IdentityRulesSpec.model_validate(spec), secret=b"s", country="VN")
    assert f"`max_neighbours` is {rules.max_neighbours[namespace_key('own')]} and `max_per_profile` unlimited" in PAGE
    assert namespace_key("own") not in rules.max_per_profile
    assert f"up to {MAX_OWN_NAMESPACES} namespaces" in PAGE


def test_the_figures_are_those_that_are_measured() -> None:
    assert accuracy_table() in PAGE
    assert overmerge_table() in PAGE
