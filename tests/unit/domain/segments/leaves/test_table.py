"""The table of leaves is complete, its examples are right, and nothing outside knows a single leaf."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from domain.definitions.json_schema import definition_schema
from domain.definitions.segment_plan import segment_plan_of
from domain.segments import leaves
from domain.segments.describe import describe_node
from domain.segments.language import NODE_TYPES, keyword_of
from domain.segments.leaves import LEAVES
from domain.segments.leaves.leaf import LeafCondition
from domain.segments.sql.compile import membership_query
from tests.support.segments import segment

ROOT = Path(__file__).parents[5]
PRODUCTION = (
    "activation",
    "api",
    "collector",
    "consumers",
    "demo",
    "domain",
    "embedded",
    "ops",
    "profile_store",
    "streams",
    "warehouse",
)
SHARED_MODULES = {"leaf"}
"""The interface is for everybody; the other modules of the package are for the leaves alone."""
VALIDATOR = Draft202012Validator(definition_schema("segment"))


def concrete_leaves() -> Iterator[type[LeafCondition]]:
    for module_info in pkgutil.iter_modules(leaves.__path__):
        module = importlib.import_module(f"{leaves.__name__}.{module_info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, LeafCondition) and member.__module__ == module.__name__ and member.model_fields:
                yield member


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_leaf_of_the_package_is_in_the_table() -> None:
    assert set(concrete_leaves()) == set(LEAVES)
    assert len(set(LEAVES)) == len(LEAVES)


def test_no_module_outside_the_package_imports_a_single_leaf() -> None:
    modules = {
        f"{leaves.__name__}.{info.name}" for info in pkgutil.iter_modules(leaves.__path__) if info.name not in SHARED_MODULES
    }
    package = Path(leaves.__path__[0])
    files = [path for folder in PRODUCTION for path in (ROOT / folder).rglob("*.py") if package not in path.parents]
    assert len(files) > 100
    importers = {str(path.relative_to(ROOT)): found for path in files if (found := modules.intersection(imported_modules(path)))}
    assert importers == {}


@pytest.mark.parametrize("leaf", LEAVES, ids=keyword_of)
def test_each_leaf_has_one_keyword_and_an_example_that_everything_accepts(leaf: type[LeafCondition]) -> None:
    [keyword] = leaf.example
    assert len(leaf.model_fields) == 1
    assert keyword_of(leaf) == keyword
    assert NODE_TYPES[keyword] is leaf
    definition = segment("shown", leaf.example)
    assert type(definition.spec.where) is leaf
    document = {"apiVersion": "onefold/v1", "kind": "Segment", "metadata": {"name": "shown"}, "spec": {"where": leaf.example}}
    VALIDATOR.validate(document)
    assert describe_node(definition.spec.where)
    query = membership_query(segment_plan_of([definition]), "shown", 1_000)
    assert "SELECT profile_id" in query.sql


@pytest.mark.parametrize("leaf", LEAVES, ids=keyword_of)
def test_each_register_of_a_leaf_has_a_path(leaf: type[LeafCondition]) -> None:
    node = segment("shown", leaf.example).spec.where
    assert isinstance(node, LeafCondition)
    assert len(node.register_paths()) == len(node.registers())
