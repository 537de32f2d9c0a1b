"""The segment language: a tree of `all`, `any`, `not` and `in_segment` over leaves, read from YAML or JSON.

There are no expressions in text: whatever can be asked has a word, so its cost is known before an event comes, and the stream and
ClickHouse's SQL can answer it alike.

A node is a document with exactly one keyword. The keywords of the tree are here; those of the leaves come from the table
`domain.segments.leaves.LEAVES`, and nothing here knows a single leaf.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, Discriminator, Field, Tag

from domain.fields import NAME_PATTERN, StrictModel
from domain.segments.leaves import LEAVES
from domain.segments.leaves.leaf import LeafCondition
from schemas.hashes import content_hash

SegmentName = Annotated[str, Field(pattern=NAME_PATTERN)]
MAX_DEPTH: Final = 12
"""How deep `all`, `any` and `not` may be nested."""
MAX_NODES: Final = 500
"""How many conditions, `all`, `any` and `not` one segment may have."""


class InSegmentCondition(StrictModel):
    """The profile is in the segment of this name."""

    in_segment: SegmentName


class AllOf(StrictModel):
    """Each of these holds."""

    all: tuple["Node", ...] = Field(min_length=1, max_length=100)


class AnyOf(StrictModel):
    """At least one of these holds."""

    any: tuple["Node", ...] = Field(min_length=1, max_length=100)


class Not(StrictModel):
    """This does not hold."""

    not_: "Node" = Field(alias="not")


def keyword_of(node_type: type[BaseModel]) -> str:
    """Return the one keyword that a node of this kind has in a document."""
    (name, field), *_ = node_type.model_fields.items()
    return field.alias or name


_TREE_NODES: Final[tuple[type[BaseModel], ...]] = (InSegmentCondition, AllOf, AnyOf, Not)
NODE_TYPES: Final[dict[str, type[BaseModel]]] = {keyword_of(node_type): node_type for node_type in (*LEAVES, *_TREE_NODES)}
"""Every kind of node by its keyword."""
KEYWORDS: Final = tuple(NODE_TYPES)
"""The words of the language, one of them in each node."""
_KEYWORD_BY_TYPE: Final = {node_type: keyword for keyword, node_type in NODE_TYPES.items()}


def _discriminate_node(value: object) -> str | None:
    """Return the one keyword that a document holds, so that pydantic's errors speak of that node alone; None to refuse it."""
    if isinstance(value, dict):
        keywords = [keyword for keyword in NODE_TYPES if keyword in value]
        return keywords[0] if len(keywords) == 1 else None
    return _KEYWORD_BY_TYPE.get(type(value))  # type: ignore[arg-type]  # any other type is no node


if TYPE_CHECKING:
    Node = LeafCondition | InSegmentCondition | AllOf | AnyOf | Not
else:
    Node = Annotated[
        reduce(or_, (Annotated[node_type, Tag(keyword)] for keyword, node_type in NODE_TYPES.items())),
        Discriminator(
            _discriminate_node,
            custom_error_type="unknown_node",
            custom_error_message=f"exactly one of {', '.join(NODE_TYPES)} is expected here",
        ),
    ]

for _branch_type in (AllOf, AnyOf, Not):
    _branch_type.model_rebuild()


class SegmentSpec(StrictModel):
    """The `spec` of a Segment definition."""

    where: Node
    title: dict[str, str] = Field(default_factory=dict)


def segment_version(spec: SegmentSpec) -> str:
    """Return a content hash of what decides membership: a new title is no new version."""
    return content_hash(spec.where.model_dump(mode="json", by_alias=True))


def children_of(node: Node) -> tuple[Node, ...]:
    """Return the nodes right below a node."""
    if isinstance(node, AllOf):
        return node.all
    if isinstance(node, AnyOf):
        return node.any
    return (node.not_,) if isinstance(node, Not) else ()


def walk_nodes(node: Node) -> list[Node]:
    """Return all nodes of the tree, parents first."""
    return [node, *(descendant for child in children_of(node) for descendant in walk_nodes(child))]


def leaves_of(node: Node) -> list[LeafCondition]:
    """Return all leaves of the tree, in the order in which they were written."""
    return [descendant for descendant in walk_nodes(node) if isinstance(descendant, LeafCondition)]


def segment_references(node: Node) -> list[str]:
    """Return the names of the segments that the tree refers to directly."""
    return [descendant.in_segment for descendant in walk_nodes(node) if isinstance(descendant, InSegmentCondition)]


def nodes_with_paths(node: Node, path: str = "where") -> list[tuple[str, Node]]:
    """Return all nodes of the tree with their paths as the author wrote them (`where.all.1.did`), parents first."""
    node_path = f"{path}.{keyword_of(type(node))}"
    children = children_of(node)
    is_negation = isinstance(node, Not)
    descendants = [
        descendant
        for index, child in enumerate(children)
        for descendant in nodes_with_paths(child, node_path if is_negation else f"{node_path}.{index}")
    ]
    return [(node_path, node), *descendants]
