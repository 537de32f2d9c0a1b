"""The table of controls names every requirement once, and only tests that exist."""

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.source_tree import ROOT

PAGE: Final = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ROWS: Final = [line.split(" | ") for line in PAGE.splitlines() if re.match(r"\| V\d", line)]
# How many requirements of levels 1 and 2 each section of ASVS 5.0.0 has; they are numbered from 1.
SECTIONS: Final = {
    "1.1": 2, "1.2": 9, "1.3": 11, "1.4": 3, "1.5": 2,
    "2.1": 3, "2.2": 3, "2.3": 4, "2.4": 1,
    "3.2": 2, "3.3": 4, "3.4": 6, "3.5": 5, "3.7": 2,
    "4.1": 3, "4.2": 1, "4.3": 2, "4.4": 4,
    "5.1": 1, "5.2": 3, "5.3": 2, "5.4": 3,
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
    "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
    "9.1": 3, "9.2": 4,
    "10.1": 2, "10.2": 2, "10.3": 4, "10.4": 11, "10.5": 5, "10.6": 2, "10.7": 3,
    "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1,
    "12.1": 3, "12.2": 2, "12.3": 4,
    "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5,
    "14.1": 2, "14.2": 4, "14.3": 3,
    "15.1": 3, "15.2": 3, "15.3": 7,
    "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
    "17.1": 1, "17.2": 4, "17.3": 2,
}  # fmt: skip


def requirements(cell: str) -> Iterator[str]:
    """Yield the numbers that a cell such as `V1.2.6 to V1.2.8, V1.3.1` names."""
    for part in cell.strip("| ").split(", "):
        first, _, last = part.partition(" to ")
        section, _, number = first.removeprefix("V").rpartition(".")
        end = int(last.rpartition(".")[2]) if last else int(number)
        yield from (f"{section}.{item}" for item in range(int(number), end + 1))


def test_the_table_names_every_requirement_once() -> None:
    named = [number for row in ROWS for number in requirements(row[0])]
    assert sorted(named) == sorted(f"{section}.{item}" for section, count in SECTIONS.items() for item in range(1, count + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_how_it_stands_and_why(row: list[str]) -> None:
    assert row[2] in ("held", "open", "elsewhere", "absent")
    assert row[2] == "absent" or len(row[3].strip("| ")) > 3


@pytest.mark.parametrize("reference", sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE))))
def test_a_test_that_is_named_exists(reference: str) -> None:
    path, _, name = reference.partition("::")
    assert (ROOT / path).is_file()
    if name:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {item.name for item in ast.walk(tree) if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
