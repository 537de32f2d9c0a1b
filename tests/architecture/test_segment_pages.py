"""What the pages on segments show can be applied, and what they say of numbers is what the code says."""

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from domain.definitions.json_schema import ANY_KIND, definition_schema
from domain.definitions.kinds import ComputedTrait, parse_definition
from domain.definitions.yaml_text import yaml_documents
from domain.segments.computed_traits import DEFAULT_COMPUTED_TRAITS, ComputedTraitSpec
from domain.segments.language import KEYWORDS, MAX_DEPTH, MAX_NODES, walk_nodes

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("segment-language.md", "segments.md")
VALIDATOR = Draft202012Validator(definition_schema(ANY_KIND))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def whole(shown: Any) -> Any:
    """Return a whole definition: a bare condition becomes the `where` of a segment named `shown`."""
    if "apiVersion" in shown:
        return shown
    return {"apiVersion": "onefold/v1", "kind": "Segment", "metadata": {"name": "shown"}, "spec": {"where": shown}}


EXAMPLES = [
    pytest.param(whole(shown), id=f"{page} {number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "yaml"))
    for shown in yaml_documents(block)
]


@pytest.mark.parametrize("document", EXAMPLES)
def test_every_example_can_be_applied_and_fits_the_schema(document: Any) -> None:
    parse_definition(document, "example")
    VALIDATOR.validate(document)


def test_every_word_of_the_language_and_every_kind_of_computed_trait_has_an_example_or_a_row() -> None:
    shown = [parse_definition(example.values[0], "example") for example in EXAMPLES]
    words = {
        next(iter(node.model_dump(by_alias=True)))
        for one in shown
        if one.kind == "Segment"
        for node in walk_nodes(one.spec.where)
    }  # fmt: skip
    assert set(KEYWORDS) <= words
    assert {one.spec.kind for one in shown if isinstance(one, ComputedTrait)} >= {"sum", "most_frequent", "rfm", "lifecycle"}
    text = (DOCS / "segment-language.md").read_text(encoding="utf-8")
    table = text[text.index("| Kind | Value |") :].split("\n\n")[0]
    assert all(f"`{kind}`" in table for kind in ComputedTraitSpec.model_fields)


def test_the_numbers_are_those_of_the_code() -> None:
    text = (DOCS / "segment-language.md").read_text(encoding="utf-8")
    assert f"nested at most {MAX_DEPTH} deep; a segment has at most {MAX_NODES}" in text
    rfm = DEFAULT_COMPUTED_TRAITS["rfm"].rfm
    assert rfm is not None
    for row, edges in (
        ("recency", [f"< {edge // 86_400_000}d" for edge in rfm.recency]),
        ("frequency", [f"≥ {edge:,.0f}" for edge in reversed(rfm.frequency)]),
        ("monetary", [f"≥ {edge:,.0f}" for edge in reversed(rfm.monetary)]),
    ):
        [line] = [line for line in text.splitlines() if line.startswith(f"| {row}:")]
        assert [cell.strip() for cell in line.split("|")][2:6] == edges
    lifecycle = DEFAULT_COMPUTED_TRAITS["lifecycle"].lifecycle
    assert lifecycle is not None
    for name in ("at_risk_after", "lost_after"):
        assert f"`{name}` ({getattr(lifecycle, name) // 86_400_000}d)" in text
    assert f"`loyal_orders` ({lifecycle.loyal_orders})" in text


def test_anchors_lead_to_headings() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", (DOCS / page).read_text(encoding="utf-8")):
            found = (DOCS / (target or page)).read_text(encoding="utf-8")
            headings = {
                re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.+)$", found, re.MULTILINE)
            }
            assert anchor in headings, f"{page}: {target}#{anchor}"
