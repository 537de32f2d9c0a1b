"""The documentation says what the code says."""

import re
import tomllib
from pathlib import Path

import pytest

from docs.reference import PAGES
from runtime.metrics import REGISTER

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_reference_pages_are_those_the_code_makes(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name]()


@pytest.mark.parametrize("name", sorted(REGISTER))
def test_every_metric_of_the_register_is_written_somewhere(name: str) -> None:
    packages = ("activation", "api", "collector", "consumers", "demo", "ops", "profile_store", "runtime", "streams", "warehouse")
    writers = (path for package in packages for path in (ROOT / package).rglob("*.py") if path != ROOT / "runtime" / "metrics.py")
    assert any(f'"{name}"' in path.read_text() for path in writers)


def test_changelog_starts_with_what_is_unreleased_or_with_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(heading for heading in headings if heading != "Unreleased") == version
    assert "Unreleased" not in headings[1:]


def test_links_between_documents_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_helper_of_the_tests_is_explained() -> None:
    page = (ROOT / "tests/support/README.md").read_text(encoding="utf-8")
    assert [path.stem for path in (ROOT / "tests/support").glob("*.py") if f"`{path.stem}`" not in page] == []


def test_every_decision_has_a_number_of_its_own_and_begins_with_it() -> None:
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [int(path.name[:4]) for path in records]
    assert numbers == list(range(1, len(records) + 1))
    for number, path in zip(numbers, records, strict=True):
        assert re.match(rf"# {number}[.:] ", path.read_text(encoding="utf-8")), path.name
