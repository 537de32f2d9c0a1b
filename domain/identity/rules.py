"""Identity rules: what a definition may set about namespaces, values and limits, and the same compiled for use. Pure.

Patterns are RE2 expressions, the dialect of ClickHouse, because an expression that backtracks can take exponential time on one
value; RE2 takes linear time whatever the expression is.

Invariant: rules are an input of `clusters.resolve`, never a filter of evidence. A value that is blocked today keeps its evidence,
so rules that allow it tomorrow find its profile again.

Example: with `email: {max_neighbours: 3}` an e-mail that three user ids were seen with still links them (as far as
`max_per_profile` allows); with the fourth user id it is generic, none of its edges counts, and profiles that only these edges had
joined come apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

import re2
from pydantic import Field, field_validator, model_validator

from domain.fields import StrictModel
from domain.identity.identifier_values import NormalForm
from domain.identity.namespaces import (
    MAX_OWNER_ORDER,
    MAX_RANK,
    NAMESPACE_PATTERN,
    RESERVED_NAMES,
    SHIPPED_NAMESPACES,
    Namespaces,
    OwnNamespace,
    owner_order_of_rank,
)
from domain.re2_options import re2_options
from schemas.hashes import content_hash
from schemas.identifiers import Identifier, namespace_key, namespace_of, own_tag

MAX_MEMBERS: Final = 1_000
MAX_BLOCKED: Final = 100_000
Prefer = Literal["last", "first"]
MAX_OWN_NAMESPACES: Final = 32
NamespaceName = Annotated[str, Field(pattern=NAMESPACE_PATTERN)]
TraitName = Annotated[str, Field(min_length=1, max_length=256)]
IdentifierValue = Annotated[str, Field(min_length=1, max_length=1024)]

DEFAULT_MAX_NEIGHBOURS: Final[Mapping[str, int | None]] = {
    "user_id": None, "crm_id": None, "email": 5, "phone": 8, "caller_number": 8, "device_id": 20, "anonymous_id": 20,
}  # fmt: skip
"""How many distinct neighbours of stronger or equal namespaces a value may have; with more it is generic. None: any number."""
DEFAULT_MAX_PER_PROFILE: Final[Mapping[str, int | None]] = {"user_id": 1, "crm_id": 1}
"""How many values of a namespace one profile may have; a namespace without an entry is bounded by `max_members` alone."""
OWN_MAX_NEIGHBOURS: Final = 8
"""`max_neighbours` of a namespace of one's own that sets none."""


class NamespaceRules(StrictModel):
    """The rules of one namespace, as far as they differ from the defaults. `unlimited` lifts a default limit.

    A name that is not shipped declares a namespace of one's own; it needs a `rank`.
    """

    rank: int | None = Field(
        default=None,
        ge=0,
        le=MAX_RANK,
        description="how strong a namespace of one's own is: just behind the shipped one of rank (0 user_id … 6 caller_number)",
    )
    owner_order: int | None = Field(
        default=None,
        ge=1,
        le=MAX_OWNER_ORDER,
        description="which of an event's identifiers owns it: just behind the shipped one of this order; by default as the rank's",
    )
    normalise: NormalForm | None = Field(
        default=None, description="how spellings of one value are brought together in a namespace of one's own; by default `text`"
    )
    # At most 2,000, since a node with more neighbours is crowded whatever its namespace: a larger limit would have no effect.
    max_neighbours: Annotated[int, Field(ge=1, le=2_000)] | Literal["unlimited"] | None = Field(
        default=None,
        description="a value with more distinct neighbours of stronger or equal namespaces is generic: it links nobody",
    )
    max_per_profile: Annotated[int, Field(ge=1, le=2_000)] | Literal["unlimited"] | None = Field(
        default=None, description="how many values of this namespace one profile may have; 1 makes it unique"
    )
    blocked: tuple[IdentifierValue, ...] = Field(default=(), max_length=MAX_BLOCKED, description="values that identify nobody")
    blocked_patterns: tuple[IdentifierValue, ...] = Field(
        default=(), max_length=100, description="RE2 expressions; a normalised value that one of them matches identifies nobody"
    )

    @field_validator("blocked_patterns")
    @classmethod
    def _patterns_compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re2.compile(pattern, re2_options())
            except re2.error:
                raise ValueError("a pattern is not an RE2 expression: see https://github.com/google/re2/wiki/Syntax") from None
        return patterns


class HouseholdRules(StrictModel):
    """What makes people one household. The matching keys are tried in the order of the fields."""

    id_trait: TraitName | None = Field(default=None, description="a trait that names the household; the path may be dotted")
    address_trait: TraitName | None = Field(
        default=None, description="a trait with the address: a text, or an object with street, city, state, postalCode"
    )
    landline: bool = Field(default=False, description="a fixed-line number that several use makes them a household")
    shared_phone: bool = Field(default=False, description="any phone number that several use does, also one that links nobody")
    shared_traits: tuple[TraitName, ...] = Field(
        default=(), max_length=50, description="the traits that members share with the household; no other is visible through it"
    )
    max_members: int = Field(
        default=20, ge=2, le=100, description="a matching key that more people than this share makes no household"
    )

    @model_validator(mode="after")
    def _has_a_sign(self) -> Self:
        if not (self.id_trait or self.address_trait or self.landline or self.shared_phone):
            raise ValueError("a household needs a matching key: set id_trait, address_trait, landline or shared_phone")
        return self


class IdentityRulesSpec(StrictModel):
    """The `spec` of an IdentityRules definition. There is one, named `default`."""

    namespaces: dict[NamespaceName, NamespaceRules] = Field(default_factory=dict)
    max_members: int = Field(default=MAX_MEMBERS, ge=2, le=2_000, description="how many identifiers one profile may have")
    prefer: Prefer = Field(default="last", description="which link counts first at a limit: the one seen last, or first")
    same_number: bool = Field(
        default=True, description="a call reaches the customer who gave its number as a phone; false: only if an event names both"
    )
    household: HouseholdRules | None = Field(default=None, description="what makes a household; without it there are none")

    @model_validator(mode="after")
    def _own_namespaces_are_declared(self) -> Self:
        tags: dict[str, str] = {}
        for name, rules in self.namespaces.items():
            is_shipped = name in SHIPPED_NAMESPACES
            if is_shipped and (rules.rank, rules.owner_order, rules.normalise) != (None, None, None):
                raise ValueError(
                    f"namespaces.{name}: rank, owner_order and normalise are fixed for a shipped namespace: leave them out"
                )
            if not is_shipped and rules.rank is None:
                raise ValueError(
                    f"namespaces.{name}: is none of the shipped namespaces ({', '.join(SHIPPED_NAMESPACES.names)}): "
                    "correct the name, or give it a rank to declare a namespace of your own"
                )
            if not is_shipped and name in RESERVED_NAMES:
                raise ValueError(f"namespaces.{name}: the name has another meaning in calls and files: choose another")
            if not is_shipped and (other := tags.setdefault(own_tag(name), name)) != name:
                raise ValueError(f"namespaces.{name}: its nodes could not be told from those of {other}: choose another name")
        if len(tags) > MAX_OWN_NAMESPACES:
            raise ValueError(f"namespaces: at most {MAX_OWN_NAMESPACES} of your own")
        return self

    @property
    def all_namespaces(self) -> Namespaces:
        """The shipped namespaces and those that these rules declare."""
        return Namespaces.of(
            OwnNamespace(name, rules.rank, rules.owner_order or owner_order_of_rank(rules.rank), rules.normalise or "text")
            for name, rules in self.namespaces.items()
            if rules.rank is not None
        )


@dataclass(frozen=True, slots=True)
class CompiledIdentityRules:
    """Rules compiled for use by the agents.

    `sequence_number` orders rules in time: it grows with each definition. `version` is a hash of their content, and is stored with
    the evidence so that an explanation can name the rules of that time. Limits and patterns are by `namespace_key`, which is the
    name of a shipped namespace.
    """

    max_neighbours: Mapping[str, int | None] = field(default_factory=lambda: DEFAULT_MAX_NEIGHBOURS)
    max_per_profile: Mapping[str, int | None] = field(default_factory=lambda: DEFAULT_MAX_PER_PROFILE)
    max_members: int = MAX_MEMBERS
    prefer: Prefer = "last"
    same_number: bool = True
    namespaces: Namespaces = SHIPPED_NAMESPACES
    blocked: frozenset[str] = frozenset()
    patterns: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    household: HouseholdRules | None = None
    version: str = "default"
    sequence_number: int = 0

    @classmethod
    def from_spec(cls, spec: IdentityRulesSpec, *, secret: bytes, country: str, sequence_number: int = 0) -> Self:
        """Compile a definition.

        `secret` is the key of the node hash and `country` the default country of phone numbers: both are needed to turn blocked
        values, which people write as they like, into nodes. `sequence_number` is the number of the definition's record.
        """
        max_neighbours, max_per_profile = dict(DEFAULT_MAX_NEIGHBOURS), dict(DEFAULT_MAX_PER_PROFILE)
        blocked: set[str] = set()
        patterns: dict[str, tuple[Any, ...]] = {}
        # None changes its meaning here. In the spec it stands for a limit that is not set, so that the default stays; in compiled
        # rules it stands for no limit, which the spec calls `unlimited`.
        namespaces = spec.all_namespaces
        for namespace, namespace_rules in spec.namespaces.items():
            key = namespace_key(namespace)
            if namespace in namespaces.own:
                max_neighbours[key] = OWN_MAX_NEIGHBOURS
            if namespace_rules.max_neighbours is not None:
                max_neighbours[key] = None if namespace_rules.max_neighbours == "unlimited" else namespace_rules.max_neighbours
            if namespace_rules.max_per_profile is not None:
                max_per_profile[key] = None if namespace_rules.max_per_profile == "unlimited" else namespace_rules.max_per_profile
            # Events carry normalised values, so a blocked value must be normalised too before its hash can match.
            identified = (namespaces.identify(namespace, value, secret, country) for value in namespace_rules.blocked)
            blocked |= {identifier_and_node[1] for identifier_and_node in identified if identifier_and_node is not None}
            if namespace_rules.blocked_patterns:
                patterns[key] = tuple(re2.compile(pattern, re2_options()) for pattern in namespace_rules.blocked_patterns)
        return cls(
            max_neighbours=max_neighbours,
            max_per_profile=max_per_profile,
            max_members=spec.max_members,
            prefer=spec.prefer,
            same_number=spec.same_number,
            namespaces=namespaces,
            blocked=frozenset(blocked),
            patterns=patterns,
            household=spec.household,
            # A definition that sets nothing is the same rules as no definition, so no cluster need be resolved again.
            version=DEFAULT_RULES.version if spec == IdentityRulesSpec() else rules_version(spec),
            sequence_number=sequence_number,
        )

    def is_blocked(self, node_id: str, identifier: Identifier | None) -> bool:
        """Return whether a node identifies nobody by these rules; `identifier` is its (namespace, value), or None if unknown.

        A namespace that was declared once and is not any more identifies nobody.
        """
        if node_id in self.blocked or self.namespaces.is_undeclared(node_id):
            return True
        if identifier is None or not self.patterns:
            return False
        return any(pattern.search(identifier[1]) for pattern in self.patterns.get(namespace_key(identifier[0]), ()))

    def blocked_among(self, nodes: Iterable[str]) -> set[str]:
        """Return those of the nodes that are blocked whatever their value; patterns are not asked (see `has_patterns`)."""
        return {node_id for node_id in nodes if self.is_blocked(node_id, None)}

    def has_patterns(self, node_id: str) -> bool:
        """Return whether `is_blocked` needs the node's value, because the rules have patterns for its namespace."""
        return bool(self.patterns) and namespace_of(node_id) in self.patterns


DEFAULT_RULES: Final = CompiledIdentityRules()
"""The rules in force when there is no definition."""


def rules_version(spec: IdentityRulesSpec) -> str:
    """Return a hash of the rules' content, so that equal rules have equal versions wherever they were written."""
    # Without later fields as long as they say nothing, so that rules that were written before these existed keep their version.
    content = spec.model_dump(mode="json", exclude={"same_number"} if spec.same_number else None)
    for namespace_rules in content["namespaces"].values():
        for name in ("rank", "owner_order", "normalise"):
            if namespace_rules[name] is None:
                del namespace_rules[name]
    return content_hash(content)
