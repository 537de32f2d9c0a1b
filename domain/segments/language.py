"""The segment language: a tree of `all`, `any`, `not` over leaves, read from YAML or JSON. No free-text expressions."""

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, Discriminator, Field, Tag

from domain.fields import NAME_PATTERN, StrictModel
from domain.segments.comparisons import TraitLeaf
from domain.segments.leaf_models import (
    AccountLeaf,
    AggregateLeaf,
    CalendarLeaf,
    ConsentLeaf,
    DidLeaf,
    DidNotLeaf,
    HouseholdLeaf,
    LifecycleLeaf,
    OccurrenceLeaf,
    PercentLeaf,
    RegularlyLeaf,
    RfmLeaf,
    SequenceLeaf,
    SubscribedLeaf,
)
from schemas.hashes import content_hash

SegmentName = Annotated[str, Field(pattern=NAME_PATTERN)]
MAX_DEPTH: Final = 12
"""How deep `all`, `any` and `not` may be nested."""
MAX_NODES: Final = 500
"""How many conditions, `all`, `any` and `not` one segment may have."""


class TraitCondition(StrictModel):
    trait: TraitLeaf


class DidCondition(StrictModel):
    did: DidLeaf


class DidNotCondition(StrictModel):
    did_not: DidNotLeaf


class FirstCondition(StrictModel):
    """The first such event is as it says."""

    first: OccurrenceLeaf


class LastCondition(StrictModel):
    """The last such event is as it says."""

    last: OccurrenceLeaf


class AggregateCondition(StrictModel):
    aggregate: AggregateLeaf


class SequenceCondition(StrictModel):
    sequence: SequenceLeaf


class RegularlyCondition(StrictModel):
    regularly: RegularlyLeaf


class InListCondition(StrictModel):
    """The profile has an identifier on the list of this name."""

    list: SegmentName


class PercentCondition(StrictModel):
    percent: PercentLeaf


class RfmCondition(StrictModel):
    rfm: RfmLeaf


class LifecycleCondition(StrictModel):
    lifecycle: LifecycleLeaf


class ConsentCondition(StrictModel):
    consent: ConsentLeaf


class SubscribedCondition(StrictModel):
    subscribed: SubscribedLeaf


class CalendarCondition(StrictModel):
    calendar: CalendarLeaf


class AccountCondition(StrictModel):
    account: AccountLeaf


class HouseholdCondition(StrictModel):
    household: HouseholdLeaf


class EveryoneCondition(StrictModel):
    """Every profile."""

    everyone: Literal[True]


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


Leaf = (
    TraitCondition
    | DidCondition
    | DidNotCondition
    | FirstCondition
    | LastCondition
    | AggregateCondition
    | SequenceCondition
    | RegularlyCondition
    | InSegmentCondition
    | InListCondition
    | PercentCondition
    | RfmCondition
    | LifecycleCondition
    | ConsentCondition
    | SubscribedCondition
    | CalendarCondition
    | AccountCondition
    | HouseholdCondition
    | EveryoneCondition
)


def keyword_of(node_type: type[BaseModel]) -> str:
    """The one keyword that a node of this kind has in a document."""
    (name, field), *_ = node_type.model_fields.items()
    return field.alias or name


_NODE_TYPES: Final[dict[str, type[BaseModel]]] = {keyword_of(kind): kind for kind in (*get_args(Leaf), AllOf, AnyOf, Not)}
KEYWORDS: Final = tuple(_NODE_TYPES)
"""The words of the language, one of them in each node."""
_KEYWORD_BY_TYPE: Final = {kind: word for word, kind in _NODE_TYPES.items()}


def _discriminate_node(value: object) -> str | None:
    """Which node a document means: the one keyword it holds. So errors speak of that node alone."""
    if isinstance(value, dict):
        keywords = [keyword for keyword in _NODE_TYPES if keyword in value]
        return keywords[0] if len(keywords) == 1 else None
    return _KEYWORD_BY_TYPE.get(type(value))  # type: ignore[arg-type]  # any other type is no node


Node = Annotated[
    Annotated[TraitCondition, Tag("trait")]
    | Annotated[DidCondition, Tag("did")]
    | Annotated[DidNotCondition, Tag("did_not")]
    | Annotated[FirstCondition, Tag("first")]
    | Annotated[LastCondition, Tag("last")]
    | Annotated[AggregateCondition, Tag("aggregate")]
    | Annotated[SequenceCondition, Tag("sequence")]
    | Annotated[RegularlyCondition, Tag("regularly")]
    | Annotated[InSegmentCondition, Tag("in_segment")]
    | Annotated[InListCondition, Tag("list")]
    | Annotated[PercentCondition, Tag("percent")]
    | Annotated[RfmCondition, Tag("rfm")]
    | Annotated[LifecycleCondition, Tag("lifecycle")]
    | Annotated[ConsentCondition, Tag("consent")]
    | Annotated[SubscribedCondition, Tag("subscribed")]
    | Annotated[CalendarCondition, Tag("calendar")]
    | Annotated[AccountCondition, Tag("account")]
    | Annotated[HouseholdCondition, Tag("household")]
    | Annotated[EveryoneCondition, Tag("everyone")]
    | Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")],
    Discriminator(
        _discriminate_node,
        custom_error_type="unknown_node",
        custom_error_message=f"exactly one of {', '.join(_NODE_TYPES)} is expected here",
    ),
]

for _branch_type in (AllOf, AnyOf, Not):
    _branch_type.model_rebuild()


class SegmentSpec(StrictModel):
    """The `spec` of a Segment definition."""

    where: Node
    title: dict[str, str] = Field(default_factory=dict)


def segment_version(spec: SegmentSpec) -> str:
    """A content hash of what decides membership: a new title is no new version."""
    return content_hash(spec.where.model_dump(mode="json", by_alias=True))


def children_of(node: Node) -> tuple[Node, ...]:
    """The nodes right below a node."""
    if isinstance(node, AllOf):
        return node.all
    if isinstance(node, AnyOf):
        return node.any
    return (node.not_,) if isinstance(node, Not) else ()


def walk_nodes(node: Node) -> list[Any]:
    """All nodes of the tree, parents first."""
    return [node, *(inner for child in children_of(node) for inner in walk_nodes(child))]


def nodes_with_paths(node: Node, path: str = "where") -> list[tuple[str, Any]]:
    """All nodes of the tree with their paths as the author wrote them (`where.all.1.did`), parents first."""
    node_path = f"{path}.{keyword_of(type(node))}"
    children = children_of(node)
    is_negation = isinstance(node, Not)
    descendants = [
        descendant
        for index, child in enumerate(children)
        for descendant in nodes_with_paths(child, node_path if is_negation else f"{node_path}.{index}")
    ]
    return [(node_path, node), *descendants]
