"""Identity rules: what a definition may set about namespaces, values and limits, and the same compiled for use. Pure.

Patterns are RE2 expressions, the dialect of ClickHouse, because an expression that backtracks can take exponential time on one
value; RE2 takes linear time whatever the expression is.

Invariant: rules are an input of `clusters.resolve`, never a filter of evidence. A value that is blocked today keeps its evidence,
so rules that allow it tomorrow find its profile again.

Example: with `email: {max_neighbours: 3}` an e-mail that three user ids were seen with still links them (as far as
`max_per_profile` allows); with the fourth user id it is generic, none of its edges counts, and profiles that only these edges had
joined come apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

import re2
from pydantic import Field, field_validator, model_validator

from domain.fields import StrictModel
from domain.identity.identifier_values import normalise
from domain.re2_options import re2_options
from schemas.hashes import content_hash
from schemas.identifiers import Identifier, namespace_of, node

MAX_MEMBERS: Final = 1_000
MAX_BLOCKED: Final = 100_000
Prefer = Literal["last", "first"]
Namespace = Literal["user_id", "crm_id", "email", "phone", "device_id", "anonymous_id", "caller_number"]
TraitName = Annotated[str, Field(min_length=1, max_length=256)]
IdentifierValue = Annotated[str, Field(min_length=1, max_length=1024)]

DEFAULT_MAX_NEIGHBOURS: Final[Mapping[str, int | None]] = {
    "user_id": None, "crm_id": None, "email": 5, "phone": 8, "caller_number": 8, "device_id": 20, "anonymous_id": 20,
}  # fmt: skip
"""How many distinct neighbours of stronger or equal namespaces a value may have; with more it is generic. None: any number."""
DEFAULT_MAX_PER_PROFILE: Final[Mapping[str, int | None]] = {"user_id": 1, "crm_id": 1}
"""How many values of a namespace one profile may have; a namespace without an entry is bounded by `max_members` alone."""


class NamespaceRules(StrictModel):
    """The rules of one namespace, as far as they differ from the defaults. `unlimited` lifts a default limit."""

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

    namespaces: dict[Namespace, NamespaceRules] = Field(default_factory=dict)
    max_members: int = Field(default=MAX_MEMBERS, ge=2, le=2_000, description="how many identifiers one profile may have")
    prefer: Prefer = Field(default="last", description="which link counts first at a limit: the one seen last, or first")
    same_number: bool = Field(
        default=True, description="a call reaches the customer who gave its number as a phone; false: only if an event names both"
    )
    household: HouseholdRules | None = Field(default=None, description="what makes a household; without it there are none")


@dataclass(frozen=True, slots=True)
class CompiledIdentityRules:
    """Rules compiled for use by the agents.

    `sequence_number` orders rules in time: it grows with each definition. `version` is a hash of their content, and is stored with
    the evidence so that an explanation can name the rules of that time.
    """

    max_neighbours: Mapping[str, int | None] = field(default_factory=lambda: DEFAULT_MAX_NEIGHBOURS)
    max_per_profile: Mapping[str, int | None] = field(default_factory=lambda: DEFAULT_MAX_PER_PROFILE)
    max_members: int = MAX_MEMBERS
    prefer: Prefer = "last"
    same_number: bool = True
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
        for namespace, namespace_rules in spec.namespaces.items():
            if namespace_rules.max_neighbours is not None:
                max_neighbours[namespace] = (
                    None if namespace_rules.max_neighbours == "unlimited" else namespace_rules.max_neighbours
                )
            if namespace_rules.max_per_profile is not None:
                max_per_profile[namespace] = (
                    None if namespace_rules.max_per_profile == "unlimited" else namespace_rules.max_per_profile
                )
            # Events carry normalised values, so a blocked value must be normalised too before its hash can match.
            normalised_values = (normalise(namespace, value, country) for value in namespace_rules.blocked)
            blocked |= {node(secret, (namespace, value)) for value in normalised_values if value is not None}
            if namespace_rules.blocked_patterns:
                patterns[namespace] = tuple(re2.compile(pattern, re2_options()) for pattern in namespace_rules.blocked_patterns)
        return cls(
            max_neighbours=max_neighbours,
            max_per_profile=max_per_profile,
            max_members=spec.max_members,
            prefer=spec.prefer,
            same_number=spec.same_number,
            blocked=frozenset(blocked),
            patterns=patterns,
            household=spec.household,
            # A definition that sets nothing is the same rules as no definition, so no cluster need be resolved again.
            version=DEFAULT_RULES.version if spec == IdentityRulesSpec() else rules_version(spec),
            sequence_number=sequence_number,
        )

    def is_blocked(self, node_id: str, identifier: Identifier | None) -> bool:
        """Return whether a node identifies nobody by these rules; `identifier` is its (namespace, value), or None if unknown."""
        if node_id in self.blocked:
            return True
        if identifier is None or not self.patterns:
            return False
        return any(pattern.search(identifier[1]) for pattern in self.patterns.get(identifier[0], ()))

    def has_patterns(self, node_id: str) -> bool:
        """Return whether `is_blocked` needs the node's value, because the rules have patterns for its namespace."""
        return bool(self.patterns) and namespace_of(node_id) in self.patterns


DEFAULT_RULES: Final = CompiledIdentityRules()
"""The rules in force when there is no definition."""


def rules_version(spec: IdentityRulesSpec) -> str:
    """Return a hash of the rules' content, so that equal rules have equal versions wherever they were written."""
    # Without `same_number` as long as it says nothing, so that rules that were written before it exists keep their version.
    return content_hash(spec.model_dump(mode="json", exclude={"same_number"} if spec.same_number else None))
