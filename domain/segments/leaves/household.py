"""The leaf `household`: what the profile's household is."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import model_validator

from domain.fields import StrictModel
from domain.segments.leaves import groups
from domain.segments.leaves.groups import MinimumEventCount, MinimumMembers
from domain.segments.leaves.leaf import GroupCondition, LeafInputs, SqlContext
from domain.segments.leaves.trait import TraitLeaf
from domain.segments.profile_facts import GroupFacts, LeafResult, ProfileFacts
from domain.segments.schema_rules import group_rules
from domain.segments.sql.query import all_of


class HouseholdLeaf(StrictModel):
    """What the profile's household must be: everything that is given."""

    trait: TraitLeaf | None = None
    members: MinimumMembers | None = None
    did: MinimumEventCount | None = None

    @model_validator(mode="after")
    def _has_a_requirement(self) -> Self:
        if not (self.trait or self.members or self.did):
            raise ValueError("`household` asks for something: trait, members, did")
        groups.validate_group_trait(self.trait)
        return self


class HouseholdCondition(GroupCondition):
    household: HouseholdLeaf

    example: ClassVar = {"household": {"did": {"event": "Order Completed", "at_least": 2}}}
    group_kind: ClassVar = "household"
    schema_rules: ClassVar = {"HouseholdLeaf": group_rules("trait", "members", "did")}

    def event_limits(self) -> Mapping[str, int]:
        count = self.household.did
        return {} if count is None else {count.event: count.at_least}

    def trait_paths(self) -> tuple[str, ...]:
        return () if self.household.trait is None else (self.household.trait.path,)

    def matches_group(self, group: GroupFacts) -> bool:
        return groups.group_matches(group, self.household.trait, self.household.members, self.household.did)

    def evaluate(self, _inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> LeafResult:
        household = facts.household
        return LeafResult(0) if household is None else LeafResult(household.members, self.matches_group(household))

    def sql(self, context: SqlContext) -> str:
        leaf, parameters = self.household, context.columns.parameters
        conditions, joins = ["true"], ""
        if leaf.members is not None:
            conditions.append(f"h.size >= {parameters.integer(leaf.members.at_least)}")
        if leaf.trait is not None:
            source = """FROM contribution_store FINAL ARRAY JOIN mapKeys(registers) AS trait, mapValues(registers) AS register
            WHERE kind = 'household' AND present"""
            traits_sql, condition = groups.group_trait_sql(parameters, leaf.trait, source)
            joins += f"\n    LEFT ANY JOIN ({traits_sql}) AS t ON t.group_id = h.group_id"
            conditions.append(condition)
        if leaf.did is not None:
            joins += f"""
    LEFT ANY JOIN
    (
        SELECT group_id, sum(counters[{parameters.text(leaf.did.event)}]) AS times
        FROM contribution_store FINAL
        WHERE kind = 'household' AND present
        GROUP BY group_id
    ) AS d ON d.group_id = h.group_id"""
            conditions.append(f"times >= {parameters.integer(leaf.did.at_least)}")
        return f"profile_id IN (SELECT h.profile_id FROM ({_households_sql()}) AS h {joins}\n    WHERE {all_of(conditions)})"

    def subject(self) -> str:
        return "the household:"

    def expectation(self) -> str:
        return groups.group_expectation(self.household.trait, self.household.members, self.household.did)

    def displayed_value(self, _result: LeafResult, _inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> Any:
        household = facts.household
        return None if household is None else groups.group_details(household, self.household.trait, self.household.did)


def _households_sql() -> str:
    """Write the household of each profile: the first by rank of those that have two members or more, and not too many."""
    members_sql = groups.members_sql("household")
    sizes_sql = f"SELECT group_id, count() AS size FROM ({members_sql}) GROUP BY group_id HAVING size BETWEEN 2 AND max(most)"
    return f"""
        SELECT m.profile_id AS profile_id, argMin(m.group_id, m.rank) AS group_id, argMin(n.size, m.rank) AS size
        FROM ({members_sql}) AS m
        INNER JOIN ({sizes_sql}) AS n ON n.group_id = m.group_id
        GROUP BY profile_id"""
