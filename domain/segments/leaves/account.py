"""The leaf `account`: what one of the profile's accounts is."""

from typing import Any, ClassVar, Self

from pydantic import model_validator

from domain.fields import StrictModel
from domain.segments.leaves import groups
from domain.segments.leaves.groups import MinimumMembers
from domain.segments.leaves.leaf import GroupCondition, LeafInputs, SqlContext
from domain.segments.leaves.trait import TraitLeaf
from domain.segments.profile_facts import GroupFacts, LeafResult, ProfileFacts
from domain.segments.schema_rules import group_rules
from domain.segments.sql.query import all_of


class AccountLeaf(StrictModel):
    """What one of the profile's accounts must be: everything that is given, of the same account."""

    trait: TraitLeaf | None = None
    members: MinimumMembers | None = None

    @model_validator(mode="after")
    def _has_a_requirement(self) -> Self:
        if not (self.trait or self.members):
            raise ValueError("`account` asks for something: trait, members")
        groups.validate_group_trait(self.trait)
        return self


class AccountCondition(GroupCondition):
    account: AccountLeaf

    example: ClassVar = {"account": {"trait": {"path": "plan", "value": "enterprise"}, "members": {"at_least": 5}}}
    group_kind: ClassVar = "account"
    schema_rules: ClassVar = {"AccountLeaf": group_rules("trait", "members")}

    def trait_paths(self) -> tuple[str, ...]:
        return () if self.account.trait is None else (self.account.trait.path,)

    def matches_group(self, group: GroupFacts) -> bool:
        return groups.group_matches(group, self.account.trait, self.account.members)

    def evaluate(self, _inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> LeafResult:
        matching_count = sum(self.matches_group(account) for account in facts.accounts)
        return LeafResult(matching_count, matching_count > 0)

    def sql(self, context: SqlContext) -> str:
        leaf, parameters = self.account, context.columns.parameters
        members_sql = groups.members_sql("account")
        conditions, joins = ["true"], ""
        if leaf.members is not None:
            sizes_sql = f"SELECT group_id, count() AS size FROM ({members_sql}) GROUP BY group_id"
            joins += f"\n    LEFT ANY JOIN ({sizes_sql}) AS n ON n.group_id = m.group_id"
            conditions.append(f"size >= {parameters.integer(leaf.members.at_least)}")
        if leaf.trait is not None:
            traits_sql, condition = groups.group_trait_sql(parameters, leaf.trait, "FROM account_trait_registers")
            joins += f"\n    LEFT ANY JOIN ({traits_sql}) AS t ON t.group_id = m.group_id"
            conditions.append(condition)
        return f"profile_id IN (SELECT m.profile_id FROM ({members_sql}) AS m {joins}\n    WHERE {all_of(conditions)})"

    def subject(self) -> str:
        return "an account:"

    def expectation(self) -> str:
        return groups.group_expectation(self.account.trait, self.account.members)

    def displayed_value(self, _result: LeafResult, _inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> Any:
        return [
            {**groups.group_details(account, self.account.trait), "fits": self.matches_group(account)} for account in facts.accounts
        ]
