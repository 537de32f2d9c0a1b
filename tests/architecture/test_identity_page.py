"""docs/identity.md says what the code says and what was measured."""

import re
from pathlib import Path

from domain.definitions.kinds import IdentityRules, load_yaml
from domain.identity.identifier_values import normalise
from domain.identity.model import MAX_NEIGHBOURS
from domain.identity.rules import DEFAULT_MAX_NEIGHBOURS, DEFAULT_MAX_PER_PROFILE, DEFAULT_RULES, MAX_MEMBERS
from schemas.identifiers import NAMESPACE_RANK, OWNER_ORDER
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
    quoted = re.findall(r"`([^`]+)`", table)
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


def test_the_example_is_a_definition() -> None:
    (example,) = [text for text in re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL) if "IdentityRules" in text]
    (document,) = load_yaml(example, "docs/identity.md")
    assert isinstance(document, IdentityRules)
    assert document.metadata.name == "default"


def test_the_figures_are_those_that_are_measured() -> None:
    assert accuracy_table() in PAGE
    assert overmerge_table() in PAGE
