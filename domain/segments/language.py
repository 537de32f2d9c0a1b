"""The segment language: a tree of `all`, `any`, `not` over leaves, read from YAML or JSON. No free-text expressions."""

import hashlib
import json
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, Discriminator, Field, Tag

from domain.fields import Strict
from domain.segments.comparisons import TraitLeaf
from domain.segments.leaf_models import (AccountLeaf, AggregateLeaf, CalendarLeaf, ConsentLeaf, DidLeaf, DidNotLeaf, HouseholdLeaf, LifecycleLeaf, OccurrenceLeaf, PercentLeaf, RegularlyLeaf, RfmLeaf, SequenceLeaf, SubscribedLeaf)

SegmentName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
MAX_DEPTH: Final = 12
"""How deep `all`, `any` and `not` may be nested."""
MAX_NODES: Final = 500
"""How many conditions, `all`, `any` and `not` one segment may have."""


class Trait(Strict):
    trait: TraitLeaf


class Did(Strict):
    did: DidLeaf


class DidNot(Strict):
    did_not: DidNotLeaf


class First(Strict):
    """The first such event is as it says."""

    first: OccurrenceLeaf


class Last(Strict):
    """The last such event is as it says."""

    last: OccurrenceLeaf


class Aggregate(Strict):
    aggregate: AggregateLeaf


class Sequence(Strict):
    sequence: SequenceLeaf


class Regularly(Strict):
    regularly: RegularlyLeaf


class InList(Strict):
    """The profile has an identifier on the list of this name."""

    list: SegmentName


class Percent(Strict):
    percent: PercentLeaf


class Rfm(Strict):
    rfm: RfmLeaf


class Lifecycle(Strict):
    lifecycle: LifecycleLeaf


class Consent(Strict):
    consent: ConsentLeaf


class Subscribed(Strict):
    subscribed: SubscribedLeaf


class Calendar(Strict):
    calendar: CalendarLeaf


class Account(Strict):
    account: AccountLeaf


class Household(Strict):
    household: HouseholdLeaf


class Everyone(Strict):
    """Every profile."""

    everyone: Literal[True]


class InSegment(Strict):
    """The profile is in the segment of this name."""

    in_segment: SegmentName


class AllOf(Strict):
    """Each of these holds."""

    all: tuple["Node", ...] = Field(min_length=1, max_length=100)


class AnyOf(Strict):
    """At least one of these holds."""

    any: tuple["Node", ...] = Field(min_length=1, max_length=100)


class Not(Strict):
    """This does not hold."""

    not_: "Node" = Field(alias="not")


Leaf = (
    Trait | Did | DidNot | First | Last | Aggregate | Sequence | Regularly | InSegment | InList | Percent | Rfm | Lifecycle
    | Consent | Subscribed | Calendar | Account | Household | Everyone
)  # fmt: skip


def keyword_of(kind: type[BaseModel]) -> str:
    """The one keyword that a node of this kind has in a document."""
    (name, field), *_ = kind.model_fields.items()
    return field.alias or name


_KINDS: Final[dict[str, type[BaseModel]]] = {keyword_of(kind): kind for kind in (*get_args(Leaf), AllOf, AnyOf, Not)}
KEYWORDS: Final = tuple(_KINDS)
"""The words of the language, one of them in each node."""
_WORD_OF: Final = {kind: word for word, kind in _KINDS.items()}


def _keyword(value: object) -> str | None:
    """Which node a document means: the one keyword it holds. So errors speak of that node alone."""
    if isinstance(value, dict):
        found = [word for word in _KINDS if word in value]
        return found[0] if len(found) == 1 else None
    return _WORD_OF.get(type(value))  # type: ignore[arg-type]  # any other type is no node


Node = Annotated[
    Annotated[Trait, Tag("trait")]
    | Annotated[Did, Tag("did")]
    | Annotated[DidNot, Tag("did_not")]
    | Annotated[First, Tag("first")]
    | Annotated[Last, Tag("last")]
    | Annotated[Aggregate, Tag("aggregate")]
    | Annotated[Sequence, Tag("sequence")]
    | Annotated[Regularly, Tag("regularly")]
    | Annotated[InSegment, Tag("in_segment")]
    | Annotated[InList, Tag("list")]
    | Annotated[Percent, Tag("percent")]
    | Annotated[Rfm, Tag("rfm")]
    | Annotated[Lifecycle, Tag("lifecycle")]
    | Annotated[Consent, Tag("consent")]
    | Annotated[Subscribed, Tag("subscribed")]
    | Annotated[Calendar, Tag("calendar")]
    | Annotated[Account, Tag("account")]
    | Annotated[Household, Tag("household")]
    | Annotated[Everyone, Tag("everyone")]
    | Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")],
    Discriminator(
        _keyword,
        custom_error_type="unknown_node",
        custom_error_message=f"exactly one of {', '.join(_KINDS)} is expected here",
    ),
]

for _kind in (AllOf, AnyOf, Not):
    _kind.model_rebuild()


class SegmentSpec(Strict):
    """The `spec` of a Segment definition."""

    where: Node
    title: dict[str, str] = Field(default_factory=dict)


def version_of(spec: SegmentSpec) -> str:
    """A content hash of what decides membership: a new title is no new version."""
    return content_hash(spec.where.model_dump(mode="json", by_alias=True))


def content_hash(document: Any) -> str:
    """12 hex digits of a JSON document's canonical form."""
    canonical = json.dumps(document, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()


def children_of(node: Node) -> tuple[Node, ...]:
    """The nodes right below a node."""
    if isinstance(node, AllOf):
        return node.all
    if isinstance(node, AnyOf):
        return node.any
    return (node.not_,) if isinstance(node, Not) else ()


def walk(node: Node) -> list[Any]:
    """All nodes of the tree, parents first."""
    return [node, *(inner for child in children_of(node) for inner in walk(child))]


def places(node: Node, path: str = "where") -> list[tuple[str, Any]]:
    """All nodes of the tree with their paths as the author wrote them (`where.all.1.did`), parents first."""
    here = f"{path}.{keyword_of(type(node))}"
    children = children_of(node)
    alone = isinstance(node, Not)
    below = [one for at, child in enumerate(children) for one in places(child, here if alone else f"{here}.{at}")]
    return [(here, node), *below]
