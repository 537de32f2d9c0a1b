"""Find the names that definitions refer to: segments, lists and computed traits that must be defined somewhere. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from domain.definitions.error_messages import closest_words, did_you_mean
from domain.definitions.kinds import AnyDefinition, ComputedTrait, Definition, Destination, Segment, SegmentList
from domain.segments.computed_traits import DEFAULT_COMPUTED_TRAITS
from domain.segments.language import InSegmentCondition, Node, leaves_of, nodes_with_paths, segment_references
from domain.segments.leaves.leaf import LeafCondition


@dataclass(frozen=True, slots=True)
class NameReference:
    """A name in a document: its path, the kind of definition it should be, and for `rfm` and `lifecycle` the computation."""

    path: str
    kind: str
    name: str
    computation: str = ""


def name_references(definition: Definition) -> Iterator[NameReference]:
    """Yield all names that a definition refers to."""
    if isinstance(definition, Destination):
        for index, trigger in enumerate(definition.spec.triggers):
            yield NameReference(f"spec.triggers.{index}.segment", "segment", trigger.segment)
    elif isinstance(definition, Segment):
        for path, node in nodes_with_paths(definition.spec.where, "spec.where"):
            yield from _node_references(path, node)


def _node_references(path: str, node: Node) -> Iterator[NameReference]:
    if isinstance(node, InSegmentCondition):
        yield NameReference(path, "segment", node.in_segment)
    elif isinstance(node, LeafCondition):
        for name in node.list_references():
            yield NameReference(path, "list", name)
        for reference in node.trait_references():
            if reference.computed_name:
                yield NameReference(f"{path}.{reference.field}", "computed trait", reference.computed_name, reference.computation)


def find_undefined(definitions: Mapping[str, Definition], keys: Iterable[str]) -> list[str]:
    """Return a line for each name in the definitions with these `keys` that nothing in `definitions` defines."""
    kinds: dict[str, dict[str, str]] = {
        "segment": {definition.metadata.name: "" for definition in definitions.values() if isinstance(definition, Segment)},
        "list": {definition.metadata.name: "" for definition in definitions.values() if isinstance(definition, SegmentList)},
        "computed trait": {name: spec.kind for name, spec in DEFAULT_COMPUTED_TRAITS.items()}
        | {one.metadata.name: one.spec.kind for one in definitions.values() if isinstance(one, ComputedTrait)},
    }
    faults = []
    for key in sorted(keys):
        for reference in name_references(definitions[key]):
            defined_names = kinds[reference.kind]
            candidates = [name for name, kind in defined_names.items() if reference.computation in ("", kind)]
            if reference.name in candidates:
                continue
            suggestion = did_you_mean(closest_words(reference.name, candidates)) or "define it, or correct the name"
            if reference.name in defined_names:
                fault = f"{reference.name} computes {defined_names[reference.name]}, not {reference.computation}"
            else:
                fault = f"names the {reference.kind} {reference.name}, which is not defined"
            faults.append(f"{key}: {reference.path}: {fault}: {suggestion}")
    return faults


def referencing_keys(key: str, live_definitions: Mapping[str, AnyDefinition]) -> list[str]:
    """Return the keys of the live definitions that name the definition `key`, and so would not work without it."""
    kind, _, name = key.partition("/")
    return sorted(other for other, definition in live_definitions.items() if other != key and _references(definition, kind, name))


def _references(definition: AnyDefinition, kind: str, name: str) -> bool:
    if isinstance(definition, Destination):
        return kind == "Segment" and any(trigger.segment == name for trigger in definition.spec.triggers)
    if not isinstance(definition, Segment):
        return False
    where, leaves = definition.spec.where, leaves_of(definition.spec.where)
    if kind == "Segment":
        return name in segment_references(where)
    if kind == "List":
        return any(name in leaf.list_references() for leaf in leaves)
    computed_traits = {reference.computed_name for leaf in leaves for reference in leaf.trait_references()}
    return kind == "ComputedTrait" and name in computed_traits and name not in DEFAULT_COMPUTED_TRAITS
