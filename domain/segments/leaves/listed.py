"""The leaf `list`: one of the profile's identifiers is on a list."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from domain.fields import NAME_PATTERN
from domain.segments.leaves.leaf import Dependency, LeafCondition, LeafInputs, SqlContext
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.sql.columns import CURRENT_LABELS_SQL
from domain.segments.sql.query import any_of


class InListCondition(LeafCondition):
    """The profile has an identifier on the list of this name."""

    list: Annotated[str, Field(pattern=NAME_PATTERN)]

    example: ClassVar = {"list": "blacklist"}
    depends_on: ClassVar = Dependency.IDENTITY

    def list_references(self) -> tuple[str, ...]:
        return (self.list,)

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> LeafResult:
        return LeafResult(None, not inputs.listed_nodes.isdisjoint(facts.nodes))

    def sql(self, context: SqlContext) -> str:
        listed_nodes, parameters = context.listed_nodes(self.list), context.columns.parameters
        labelled_sql = f"SELECT profile_id FROM {CURRENT_LABELS_SQL} WHERE {parameters.is_one_of('node', listed_nodes)}"
        # An identifier without a label is a profile of its own, and its hash is that profile's id.
        return any_of([parameters.is_one_of("profile_id", listed_nodes), f"profile_id IN ({labelled_sql})"])

    def subject(self) -> str:
        return f"on the list {self.list}"

    def displayed_value(self, _result: LeafResult, inputs: LeafInputs, facts: ProfileFacts, _now_ms: int) -> Any:
        return len(inputs.listed_nodes.intersection(facts.nodes))
