"""Reading definitions from files, and refusing those that do not fit together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from domain.definitions.consistency import find_inconsistencies
from domain.definitions.kinds import Definition, InvalidDefinition, load_yaml
from ops.definitions_topic import DefinitionsByKey
from runtime.errors import Invalid

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


def read_definitions(path: Path) -> DefinitionsByKey:
    """Read all definitions of a file, or of a directory and those below it, by key. Raises Invalid, which names every error."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    elif path.exists():
        files = [path]
    else:
        raise Invalid(f"{path} does not exist: name a file or directory with definitions", path=str(path), reason="missing")
    by_key: DefinitionsByKey = {}
    faults: list[str] = []
    for file in files:
        try:
            definitions = load_yaml(file.read_text(encoding="utf-8"), str(file))
        except InvalidDefinition as error:
            faults.append(str(error))
            continue
        except UnicodeDecodeError:
            faults.append(f"{file}: not UTF-8")
            continue
        except OSError as error:
            faults.append(f"{file}: cannot be read: {error.strerror}")
            continue
        for definition in definitions:
            if definition.key in by_key:
                faults.append(f"{file}: {definition.key} is defined a second time: keep one of them")
            by_key[definition.key] = definition
    if faults:
        raise Invalid("\n".join(faults), path=str(path), reason="bad_definition")
    if not by_key:
        raise Invalid(f"{path} holds no definitions (*.yaml, *.yml, *.json)", path=str(path), reason="missing")
    return by_key


def require_consistent(requested: Mapping[str, Definition], live: Mapping[str, Definition]) -> None:
    """Raise Invalid, with a line for each fault, when the requested definitions do not fit each other and the live ones."""
    if faults := find_inconsistencies(requested, live):
        raise Invalid("\n".join(faults), reason="bad_definition")
