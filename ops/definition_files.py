"""Definitions from a directory: read, checked together with what is live, and compared with it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from domain.definitions.kinds import Definition, InvalidDefinition, TrackingPlan, load_yaml
from domain.definitions.references import find_undefined
from domain.definitions.segment_plan import segment_plan_of
from domain.segments.plan import CyclicSegments
from ops.definitions_topic import DefinitionsByKey
from runtime.errors import Invalid

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


def read_directory(directory: Path) -> DefinitionsByKey:
    """All definitions of the directory and the ones below it, by key. Raises Invalid that names every document at fault."""
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


def check(requested: Mapping[str, Definition], live: Mapping[str, Definition]) -> None:
    """Hold what would be live against itself: names of segments, lists and computed traits that nothing defines, segments that name
    each other in a circle, and tracking plans that name the same source.

    Pure. Raises Invalid that names every fault.
    """
    combined = {**live, **requested}
    faults = find_undefined(combined, combined)
    faults += _sources_with_two_plans(definition for definition in combined.values() if isinstance(definition, TrackingPlan))
    try:
        segment_plan_of(combined.values())
    except CyclicSegments as error:
        faults.append(str(error))
    if faults:
        raise Invalid("\n".join(faults), reason="bad_definition")


def _sources_with_two_plans(plans: Iterable[TrackingPlan]) -> list[str]:
    """A fault for each source with two plans."""
    by_source: dict[str, list[str]] = {}
    for plan in plans:
        for source in set(plan.sources):
            by_source.setdefault(source, []).append(plan.key)
    return [
        f"{' and '.join(sorted(keys))}: are both for the source {source}: leave it to one of them"
        for source, keys in sorted(by_source.items())
        if len(keys) > 1
    ]


def classify_changes(requested: Iterable[Definition], live: Mapping[str, Definition]) -> dict[str, str]:
    """`create`, `change` or `unchanged` by key. Pure."""
    return {
        definition.key: "create" if definition.key not in live else "unchanged" if live[definition.key] == definition else "change"
        for definition in requested
    }
