"""The glossary is true: its words exist in the code, and no second word is used for one of them."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source_tree import PACKAGES

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs/glossary.md"
PRIVATE_WORDS = {
    "lane": "partition queue",
    "lanes": "partition queues",
    "desk": "service",
    "doorstep": "middleware",
    "outlet": "producer",
    "spool": "retry buffer",
    "vain": "stuck timer",
    "explorer": "cluster loader",
    "insist": "retry until stopped",
}
"""Words that only this project ever used for these things, and the words of the field for them."""


def rows() -> list[dict[str, str]]:
    """Return the rows of the glossary's tables, by the heads of their columns."""
    found, heads = [], list[str]()
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            heads = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not heads:
            heads = cells
        elif set(cells[0]) != {"-"}:
            found.append(dict(zip(heads, cells, strict=True)))
    return found


ROWS = rows()


def second_words() -> dict[str, str]:
    """Return the words that must not be used, with the word to use instead."""
    return {word.strip(): row["Word"] for row in ROWS for word in row["Not"].split(",") if word.strip()} | PRIVATE_WORDS


def test_the_glossary_has_the_words_of_the_field() -> None:
    words = [row["Word"] for row in ROWS]
    assert len(words) == len(set(words))
    assert len(words) >= 40
    assert all(row["Meaning"].endswith(".") for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["Word"])
def test_a_word_of_the_glossary_exists_in_the_code(row: dict[str, str]) -> None:
    path = row["Code"].strip("`").split(".")
    for depth in range(len(path), 0, -1):
        try:
            target = importlib.import_module(".".join(path[:depth]))
        except ModuleNotFoundError:
            continue
        for name in path[depth:]:
            target = getattr(target, name)
        return
    pytest.fail(f"{row['Code']} does not exist")


def words_of_names(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each word of each name that a file defines, with the name: `lane` of `lane_failed` and of `LaneFailed`."""
    for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = item.name
        elif isinstance(item, ast.arg):
            name = item.arg
        elif isinstance(item, ast.Name | ast.Attribute) and isinstance(item.ctx, ast.Store):
            name = item.id if isinstance(item, ast.Name) else item.attr
        else:
            continue
        for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name):
            yield word.lower(), name


def test_no_second_word_names_anything_in_the_code() -> None:
    banned = second_words()
    found = {
        f"{path.relative_to(ROOT)}: {name}": f"say {banned[word]}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for word, name in words_of_names(path)
        if word in banned
    }
    assert found == {}


def test_no_private_word_stands_in_the_documents() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = {
        f"{page.relative_to(ROOT)}: {word}": f"say {instead}"
        for page in pages
        if page != GLOSSARY
        for word, instead in PRIVATE_WORDS.items()
        if re.search(rf"(?<![-\w]){re.escape(word)}(?![-\w])", page.read_text(encoding="utf-8"), re.IGNORECASE)
    }
    assert found == {}
