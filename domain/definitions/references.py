"""Names that definitions mention: segments, lists and computed traits that must be defined somewhere. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from domain.segments.computed_traits import SHIPPED
from domain.definitions.kinds import (ComputedTrait, Definition, Destination, Segment, SegmentList)
from domain.definitions.error_messages import did_you_mean, nearest
from domain.segments.language import (Calendar, InList, InSegment, Lifecycle, Node, Rfm, Trait, places)

COMPUTED = "computed."


@dataclass(frozen=True, slots=True)
class Mention:
    """A name in a document: where, what kind of thing it should be, and for `rfm` and `lifecycle` which computation."""

    path: str
    what: str
    name: str
    computation: str = ""


def mentions(definition: Definition) -> Iterator[Mention]:
    """All names that a definition mentions."""
    if isinstance(definition, Destination):
        for index, trigger in enumerate(definition.spec.triggers):
            yield Mention(f"spec.triggers.{index}.segment", "segment", trigger.segment)
    elif isinstance(definition, Segment):
        for path, node in places(definition.spec.where, "spec.where"):
            yield from _of_node(path, node)


def _of_node(path: str, node: Node) -> Iterator[Mention]:
    if isinstance(node, InSegment):
        yield Mention(path, "segment", node.in_segment)
    elif isinstance(node, InList):
        yield Mention(path, "list", node.list)
    elif isinstance(node, Rfm):
        yield Mention(f"{path}.of", "computed trait", node.rfm.of, "rfm")
    elif isinstance(node, Lifecycle):
        yield Mention(f"{path}.of", "computed trait", node.lifecycle.of, "lifecycle")
    elif isinstance(node, Trait):
        yield from _of_trait(f"{path}.path", node.trait.path)
    elif isinstance(node, Calendar):
        yield from _of_trait(f"{path}.trait", node.calendar.trait)
        yield from _of_trait(f"{path}.zone_trait", node.calendar.zone_trait)


def _of_trait(path: str, trait: str) -> Iterator[Mention]:
    if trait.startswith(COMPUTED):
        yield Mention(path, "computed trait", trait.removeprefix(COMPUTED).split(".")[0])


def undefined(after: Mapping[str, Definition], checked: Iterable[str]) -> list[str]:
    """A line for each name in the definitions `checked` (keys) that nothing in `after` defines."""
    kinds: dict[str, dict[str, str]] = {
        "segment": {one.metadata.name: "" for one in after.values() if isinstance(one, Segment)},
        "list": {one.metadata.name: "" for one in after.values() if isinstance(one, SegmentList)},
        "computed trait": {name: spec.kind for name, spec in SHIPPED.items()}
        | {one.metadata.name: one.spec.kind for one in after.values() if isinstance(one, ComputedTrait)},
    }
    wrong = []
    for key in sorted(checked):
        for mention in mentions(after[key]):
            known = kinds[mention.what]
            fitting = [name for name, kind in known.items() if mention.computation in ("", kind)]
            if mention.name in fitting:
                continue
            cure = did_you_mean(nearest(mention.name, fitting)) or "define it, or correct the name"
            if mention.name in known:
                fault = f"{mention.name} computes {known[mention.name]}, not {mention.computation}"
            else:
                fault = f"names the {mention.what} {mention.name}, which is not defined"
            wrong.append(f"{key}: {mention.path}: {fault}: {cure}")
    return wrong
