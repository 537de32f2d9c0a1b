"""Reading definitions from files, and refusing those that do not fit together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from domain.definitions.consistency import find_inconsistencies
from domain.definitions.kinds import Definition, InvalidDefinition, load_yaml
from ops.definitions_topic import DefinitionsByKey
from runtime.errors import Invalid

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


def read_directory(directory: Path) -> DefinitionsByKey:
    """Read all definitions of a directory and the directories below it, by key. Raises Invalid, which names every error."""
    if not directory.is_dir():
        raise Invalid(f"{directory} is no directory: name one that holds definitions", path=str(directory), reason="missing")
    by_key: DefinitionsByKey = {}
    faults: list[str] = []
    for path in sorted(path for path in directory.rglob("*") if path.suffix in SUFFIXES and path.is_file()):
        try:
            definitions = load_yaml(path.read_text(encoding="utf-8"), str(path))
        except InvalidDefinition as error:
            faults.append(str(error))
            continue
        except UnicodeDecodeError:
            faults.append(f"{path}: not UTF-8")
            continue
        for definition in definitions:
            if definition.key in by_key:
                faults.append(f"{path}: {definition.key} is defined a second time: keep one of them")
            by_key[definition.key] = definition
    if faults:
        raise Invalid("\n".join(faults), path=str(directory), reason="bad_definition")
    if not by_key:
        raise Invalid(f"{directory} holds no definitions (*.yaml, *.yml, *.json)", path=str(directory), reason="missing")
    return by_key


def require_consistent(requested: Mapping[str, Definition], live: Mapping[str, Definition]) -> None:
    """Raise Invalid, with a line for each fault, when the requested definitions do not fit each other and the live ones."""
    if faults := find_inconsistencies(requested, live):
        raise Invalid("\n".join(faults), reason="bad_definition")
