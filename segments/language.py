"""The segment language: one typed leaf per concept, read from YAML or JSON. No free-text expressions.

Semantics, fixed: event time in ms, UTC; a window `within: w` is the half-open (now - w, now]; a missing trait makes a comparison
false and its `not` true; no coercion between kinds (a mismatch is false); strings are compared in NFC, case-sensitive.
`did.event` is a track event's name, or `$page`, `$screen`, `$identify`, `$group`, `$alias` for the other calls.
"""

import hashlib
import json
import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    model_validator,
)

_DURATION: Final = re.compile(r"^(\d{1,9})(ms|s|m|h|d)$")
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Compare = Literal["eq", "ne", "lt", "lte", "gt", "gte", "in", "contains", "starts_with", "exists"]
Scalar = StrictStr | StrictBool | StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""Strict, so that `true` stays a boolean: a lax integer would take it as 1, which equals no boolean trait."""


def duration_ms(value: object) -> int:
    """`30m`, `7d` … as milliseconds; raises ValueError that says the form."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("a duration is a positive whole number with a unit: 500ms, 30s, 30m, 12h, 7d")
    return int(match[1]) * _UNIT_MS[match[2]]


Duration = Annotated[int, BeforeValidator(duration_ms), PlainSerializer(lambda value: f"{value}ms", return_type=str)]
"""A length of time: text with a unit on the wire, milliseconds in Python."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Strict):
    """A comparison of one value. `value` is a list for `in`, absent for `exists`, else a scalar."""

    op: Compare = "eq"
    value: Scalar | tuple[Scalar, ...] | None = Field(default=None, union_mode="left_to_right")

    @model_validator(mode="after")
    def _value_fits_op(self) -> Self:
        if self.op == "exists":
            if self.value not in (None, True, False):
                raise ValueError("`exists` takes no value, or true or false")
        elif self.op == "in":
            if not isinstance(self.value, tuple) or not self.value:
                raise ValueError("`in` takes a list with at least one value")
        elif self.value is None or isinstance(self.value, tuple):
            raise ValueError(f"`{self.op}` takes one value: a string, a number or a boolean")
        return self


class PropertyCondition(Condition):
    """A condition on a property of the event; `prop` may be a dotted path."""

    prop: str = Field(min_length=1, max_length=256)


class TraitLeaf(Condition):
    """A condition on a trait of the profile; `path` may be dotted."""

    path: str = Field(min_length=1, max_length=256)


class DidLeaf(_Strict):
    """Did `event` at least `at_least` times, within the window if one is given."""

    event: str = Field(min_length=1, max_length=512)
    where: tuple[PropertyCondition, ...] = ()
    at_least: int = Field(default=1, ge=1, le=1000)
    within: Duration | None = None

    def state_key(self) -> str:
        """Names the event times that this leaf needs: leaves over the same event and filters share them."""
        canonical = json.dumps([self.event, [c.model_dump(mode="json") for c in self.where]], sort_keys=True)
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


class MembersLeaf(_Strict):
    """How many profiles a group has."""

    at_least: int = Field(ge=1, le=10_000)


class CountLeaf(_Strict):
    """`event` happened at least `at_least` times to all members together, whenever."""

    event: str = Field(min_length=1, max_length=512)
    at_least: int = Field(default=1, ge=1, le=1000)


class AccountLeaf(_Strict):
    """What one of the profile's accounts must be: all that is given, of the same account."""

    trait: TraitLeaf | None = None
    members: MembersLeaf | None = None

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not (self.trait or self.members):
            raise ValueError("`account` asks for something: trait, members")
        return self


class HouseholdLeaf(_Strict):
    """What the profile's household must be: all that is given."""

    trait: TraitLeaf | None = None
    members: MembersLeaf | None = None
    did: CountLeaf | None = None

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not (self.trait or self.members or self.did):
            raise ValueError("`household` asks for something: trait, members, did")
        return self


class Trait(_Strict):
    trait: TraitLeaf


class Did(_Strict):
    did: DidLeaf


class Account(_Strict):
    account: AccountLeaf


class Household(_Strict):
    household: HouseholdLeaf


class InSegment(_Strict):
    in_segment: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")


class AllOf(_Strict):
    all: tuple["Node", ...] = Field(min_length=1, max_length=100)


class AnyOf(_Strict):
    any: tuple["Node", ...] = Field(min_length=1, max_length=100)


class Not(_Strict):
    not_: "Node" = Field(alias="not")


_KEYWORDS: Final = ("trait", "did", "account", "household", "in_segment", "all", "any", "not")


def _keyword(value: object) -> str | None:
    """Which node a document means: the one keyword it holds. So errors speak of that node alone."""
    if isinstance(value, dict):
        found = [word for word in _KEYWORDS if word in value]
        return found[0] if len(found) == 1 else None
    return next((word for word in _KEYWORDS if hasattr(value, "not_" if word == "not" else word)), None)


Node = Annotated[
    Annotated[Trait, Tag("trait")]
    | Annotated[Did, Tag("did")]
    | Annotated[Account, Tag("account")]
    | Annotated[Household, Tag("household")]
    | Annotated[InSegment, Tag("in_segment")]
    | Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")],
    Discriminator(
        _keyword,
        custom_error_type="unknown_node",
        custom_error_message="exactly one of trait, did, account, household, in_segment, all, any, not is expected here",
    ),
]


class SegmentSpec(_Strict):
    """The `spec` of a Segment definition."""

    where: Node
    title: dict[str, str] = Field(default_factory=dict)


def version_of(spec: SegmentSpec) -> str:
    """A content hash of what decides membership: a new title is no new version."""
    canonical = json.dumps(spec.where.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()


def walk(node: Node) -> list[Any]:
    """All nodes of the tree, parents first."""
    children: tuple[Node, ...] = ()
    if isinstance(node, AllOf):
        children = node.all
    elif isinstance(node, AnyOf):
        children = node.any
    elif isinstance(node, Not):
        children = (node.not_,)
    return [node, *(inner for child in children for inner in walk(child))]
