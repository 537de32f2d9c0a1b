"""Identity rules: what a definition says of namespaces, values and limits, and the same compiled for use.

Patterns are RE2 expressions, the dialect of ClickHouse, so none can take exponential time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

import re2
from pydantic import Field, field_validator, model_validator

from domain.fields import StrictModel
from domain.re2_options import re2_options
from schemas.hashes import content_hash
from schemas.identifiers import Identifier, namespace_of, node, normalise

MAX_MEMBERS: Final = 1_000
MAX_BLOCKED: Final = 100_000
Prefer = Literal["last", "first"]
Namespace = Literal["user_id", "crm_id", "email", "phone", "device_id", "anonymous_id", "caller_number"]
TraitName = Annotated[str, Field(min_length=1, max_length=256)]
IdentifierValue = Annotated[str, Field(min_length=1, max_length=1024)]

DEFAULT_MAX_NEIGHBOURS: Final[Mapping[str, int | None]] = {
    "user_id": None, "crm_id": None, "email": 5, "phone": 8, "caller_number": 8, "device_id": 20, "anonymous_id": 20,
}  # fmt: skip
"""How many distinct neighbours of stronger or equal namespaces a value may have before it counts as generic."""
DEFAULT_MAX_PER_PROFILE: Final[Mapping[str, int | None]] = {"user_id": 1, "crm_id": 1}
"""How many values of a namespace one profile may have; without an entry as many as fit."""


class NamespaceRules(StrictModel):
    """What differs from the defaults for one namespace. `unlimited` lifts a default limit."""

    max_neighbours: Annotated[int, Field(ge=1, le=2_000)] | Literal["unlimited"] | None = Field(
        default=None,
        description="a value with more distinct neighbours of stronger or equal namespaces is generic: it links nobody",
    )
    max_per_profile: Annotated[int, Field(ge=1, le=2_000)] | Literal["unlimited"] | None = Field(
        default=None, description="how many values of this namespace one profile may have; 1 makes it unique"
    )
    blocked: tuple[IdentifierValue, ...] = Field(default=(), max_length=MAX_BLOCKED, description="values that name nobody")
    blocked_patterns: tuple[IdentifierValue, ...] = Field(
        default=(), max_length=100, description="RE2 expressions; a normalised value in which one is found names nobody"
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
    """What makes people one household. Its signs are tried in the order of the fields."""

    id_trait: TraitName | None = Field(default=None, description="a trait that names the household; the path may be dotted")
    address_trait: TraitName | None = Field(
        default=None, description="a trait with the address: a text, or an object with street, city, state, postalCode"
    )
    landline: bool = Field(default=False, description="a fixed-line number that several use makes them a household")
    shared_phone: bool = Field(default=False, description="any phone number that several use does, also one that links nobody")
    shared_traits: tuple[TraitName, ...] = Field(
        default=(), max_length=50, description="the traits that members share with the household; no other is visible through it"
    )
    max_members: int = Field(default=20, ge=2, le=100, description="more people than this under one sign are no household")

    @model_validator(mode="after")
    def _has_a_sign(self) -> Self:
        if not (self.id_trait or self.address_trait or self.landline or self.shared_phone):
            raise ValueError("a household needs a sign: set id_trait, address_trait, landline or shared_phone")
        return self


class IdentityRulesSpec(StrictModel):
    """The `spec` of an IdentityRules definition. There is one, named `default`."""

    namespaces: dict[Namespace, NamespaceRules] = Field(default_factory=dict)
    max_members: int = Field(default=MAX_MEMBERS, ge=2, le=2_000, description="how many identifiers one profile may have")
    prefer: Prefer = Field(default="last", description="which link keeps its place at a limit: the one seen last, or first")
    household: HouseholdRules | None = Field(default=None, description="what makes a household; without it there are none")


@dataclass(frozen=True, slots=True)
class CompiledIdentityRules:
    """Compiled rules. `sequence_number` orders them in time (it grows with each definition), `version` is a hash of what they
    say."""

    max_neighbours: Mapping[str, int | None] = field(default_factory=lambda: DEFAULT_MAX_NEIGHBOURS)
    max_per_profile: Mapping[str, int | None] = field(default_factory=lambda: DEFAULT_MAX_PER_PROFILE)
    max_members: int = MAX_MEMBERS
    prefer: Prefer = "last"
    blocked: frozenset[str] = frozenset()
    patterns: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    household: HouseholdRules | None = None
    version: str = "default"
    sequence_number: int = 0

    @classmethod
    def from_spec(cls, spec: IdentityRulesSpec, *, secret: bytes, country: str, sequence_number: int = 0) -> Self:
        """Rules from a definition; `secret` and `country` turn blocked values into nodes."""
        max_neighbours, max_per_profile = dict(DEFAULT_MAX_NEIGHBOURS), dict(DEFAULT_MAX_PER_PROFILE)
        blocked: set[str] = set()
        patterns: dict[str, tuple[Any, ...]] = {}
        for namespace, namespace_rules in spec.namespaces.items():
            if namespace_rules.max_neighbours is not None:
                max_neighbours[namespace] = (
                    None if namespace_rules.max_neighbours == "unlimited" else namespace_rules.max_neighbours
                )
            if namespace_rules.max_per_profile is not None:
                max_per_profile[namespace] = (
                    None if namespace_rules.max_per_profile == "unlimited" else namespace_rules.max_per_profile
                )
            normalised_values = (normalise(namespace, value, country) for value in namespace_rules.blocked)
            blocked |= {node(secret, (namespace, value)) for value in normalised_values if value is not None}
            if namespace_rules.blocked_patterns:
                patterns[namespace] = tuple(re2.compile(pattern, re2_options()) for pattern in namespace_rules.blocked_patterns)
        return cls(
            max_neighbours=max_neighbours,
            max_per_profile=max_per_profile,
            max_members=spec.max_members,
            prefer=spec.prefer,
            blocked=frozenset(blocked),
            patterns=patterns,
            household=spec.household,
            version=DEFAULT_RULES.version if spec == IdentityRulesSpec() else rules_version(spec),
            sequence_number=sequence_number,
        )

    def is_blocked(self, node_id: str, identifier: Identifier | None) -> bool:
        """Whether a node names nobody by these rules. `identifier` is its (namespace, value) if it is known."""
        if node_id in self.blocked:
            return True
        if identifier is None or not self.patterns:
            return False
        return any(pattern.search(identifier[1]) for pattern in self.patterns.get(identifier[0], ()))

    def has_patterns(self, node_id: str) -> bool:
        """Whether the node's value must be known to say if it is blocked."""
        return bool(self.patterns) and namespace_of(node_id) in self.patterns


DEFAULT_RULES: Final = CompiledIdentityRules()
"""What holds without a definition."""


def rules_version(spec: IdentityRulesSpec) -> str:
    """Return a content hash of the rules."""
    return content_hash(spec.model_dump(mode="json"))
