"""Who may work on a Kafka log that nobody has compared with the one that the stores belong to."""

import ast
from typing import Final

from tests.support.source_tree import production_files, tree_of

UNGUARDED: Final = {
    "collector/main.py": "it reaches no store, and uses no offset beyond its own memory",
    "ops/adoption.py": "it decides which log is the right one",
    "ops/prepare.py": "it compares the logs itself",
    "ops/cli/definition_records.py": "it works while a store is away, and shows the offsets of Kafka",
}
"""Files that make a bus without asking a store for its log, with the reason."""


def test_every_other_bus_asks_a_store_which_log_it_belongs_to() -> None:
    unguarded = {
        str(path)
        for path in production_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "KafkaBus"
        and not any(keyword.arg == "read_adopted" for keyword in node.keywords)
    }
    assert unguarded == UNGUARDED.keys()
