"""Definitions from a directory: read, checked together with what is live, and compared with it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ops.definitions_topic import Documents
from domain.definitions.references import undefined
from runtime.errors import Invalid
from domain.definitions.kinds import (BadDefinition, Definition, TrackingPlan, load_yaml)
from domain.segments.plan import CyclicSegments, Plan

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


def read(directory: Path) -> Documents:
    """All definitions of the directory and the ones below it, by key. Raises Invalid that names every document at fault."""
    if not directory.is_dir():
        raise Invalid(f"{directory} is no directory: name one that holds definitions", path=str(directory), reason="missing")
    found: Documents = {}
    wrong: list[str] = []
    for path in sorted(path for path in directory.rglob("*") if path.suffix in SUFFIXES and path.is_file()):
        try:
            definitions = load_yaml(path.read_text(encoding="utf-8"), str(path))
        except BadDefinition as error:
            wrong.append(str(error))
            continue
        except UnicodeDecodeError:
            wrong.append(f"{path}: not UTF-8")
            continue
        for definition in definitions:
            if definition.key in found:
                wrong.append(f"{path}: {definition.key} is defined a second time: keep one of them")
            found[definition.key] = definition
    if wrong:
        raise Invalid("\n".join(wrong), path=str(directory), reason="bad_definition")
    if not found:
        raise Invalid(f"{directory} holds no definitions (*.yaml, *.yml, *.json)", path=str(directory), reason="missing")
    return found


def check(wanted: Mapping[str, Definition], known: Mapping[str, Definition]) -> None:
    """Hold what would be live against itself: names of segments, lists and computed traits that nothing defines, segments that name
    each other in a circle, and tracking plans that name the same source.

    Pure. Raises Invalid that names every fault.
    """
    after = {**known, **wanted}
    wrong = undefined(after, after)
    wrong += _planned_twice(definition for definition in after.values() if isinstance(definition, TrackingPlan))
    try:
        Plan(after.values())
    except CyclicSegments as error:
        wrong.append(str(error))
    if wrong:
        raise Invalid("\n".join(wrong), reason="bad_definition")


def _planned_twice(plans: Iterable[TrackingPlan]) -> list[str]:
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


def changes(wanted: Iterable[Definition], known: Mapping[str, Definition]) -> dict[str, str]:
    """`create`, `change` or `unchanged` by key. Pure."""
    return {
        definition.key: "create"
        if definition.key not in known
        else "unchanged"
        if known[definition.key] == definition
        else "change"
        for definition in wanted
    }
