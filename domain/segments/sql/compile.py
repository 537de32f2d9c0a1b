"""Compile a whole segment, or a computed trait, to one statement over the history in ClickHouse. Pure.

It knows the tree alone; every leaf writes its own condition, see `LeafCondition.sql`.
"""

from functools import cached_property

from domain.segments.language import AllOf, AnyOf, InSegmentCondition, Node, Not, children_of
from domain.segments.leaves.leaf import Dependency, bind_leaf
from domain.segments.plan import SegmentPlan
from domain.segments.profile_facts import COMPUTED_PREFIX, ProfileFacts
from domain.segments.sql.columns import ProfileColumns
from domain.segments.sql.comparisons import value_below
from domain.segments.sql.computed_traits import computed_trait_sql
from domain.segments.sql.functions import function_declarations
from domain.segments.sql.query import QueryParameters, SqlQuery, all_of, any_of

EMPTY_PROFILE = ProfileFacts()


def membership_query(plan: SegmentPlan, name: str, at_ms: int) -> SqlQuery:
    """Return the query for the members of a segment at an instant: one row (profile_id) per member.

    Raises KeyError for a segment that is not defined.
    """
    root = plan.segments[name].where
    compiler = _ConditionCompiler(plan, at_ms)
    compiler.columns.includes_all_profiles = compiler.result_without_facts(root) is not False
    condition = compiler.condition(root)
    return _with_functions(compiler.columns, f"SELECT profile_id\nFROM\n({compiler.columns.sql()}\n)\nWHERE {condition}")


def computed_values_query(plan: SegmentPlan, name: str, at_ms: int) -> SqlQuery:
    """Return the query for a computed trait at an instant: one row (profile_id, value as JSON text) per profile that has a value.

    Raises KeyError for a trait that is not defined.
    """
    columns = ProfileColumns(QueryParameters(), at_ms)
    columns.includes_all_profiles = plan.evaluate_computed(EMPTY_PROFILE, at_ms, [name])[name].value is not None
    value = computed_trait_sql(columns, plan.computed[name].spec)
    subquery = f"SELECT profile_id, {value} AS value\n    FROM\n    ({columns.sql()}\n    )"
    return _with_functions(columns, f"SELECT profile_id, value\nFROM\n(\n    {subquery}\n)\nWHERE value != ''")


def _with_functions(columns: ProfileColumns, sql: str) -> SqlQuery:
    functions = function_declarations(sql)
    return SqlQuery(f"WITH\n{functions}\n{sql}" if functions else sql, columns.parameters.values)


class _ConditionCompiler:
    """Writes the condition of one segment, with the conditions of the segments that it refers to in their places.

    It is the `SqlContext` that leaves receive.
    """

    def __init__(self, plan: SegmentPlan, at_ms: int) -> None:
        self._plan = plan
        self._at_ms = at_ms
        self.columns = ProfileColumns(QueryParameters(), at_ms)

    def condition(self, node: Node) -> str:
        """Return a node as a condition over the columns of a profile."""
        if isinstance(node, InSegmentCondition):
            segment = self._plan.segments.get(node.in_segment)
            return "false" if segment is None else self.condition(segment.where)
        if isinstance(node, Not):
            return f"NOT ({self.condition(node.not_)})"
        if isinstance(node, AllOf):
            return all_of(f"({self.condition(child)})" for child in node.all)
        if isinstance(node, AnyOf):
            return any_of(f"({self.condition(child)})" for child in node.any)
        return node.sql(self)

    def trait_value(self, path: str) -> str:
        """Return the expression of a trait; `computed.NAME` is a computed trait."""
        if not path.startswith(COMPUTED_PREFIX):
            return self.columns.trait_value(path)
        name, *keys = path.removeprefix(COMPUTED_PREFIX).split(".")
        return value_below(self.columns.parameters, self.computed_value(name), keys)

    def computed_value(self, name: str) -> str:
        """Return the expression of a computed trait; '' when it is not defined."""
        computation = self._plan.computed.get(name)
        return "''" if computation is None else computed_trait_sql(self.columns, computation.spec)

    def listed_nodes(self, name: str) -> frozenset[str]:
        """Return the identifiers on a list; none when it is not defined."""
        return self._plan.lists.get(name, frozenset())

    def result_without_facts(self, node: Node) -> bool | None:
        """Return the answer of a node for a profile without any facts; None when it depends on the profile's identity or groups.

        When it is false for the whole tree, only profiles with a relevant event can be members, and only those events are read.
        """
        if isinstance(node, InSegmentCondition):
            segment = self._plan.segments.get(node.in_segment)
            return False if segment is None else self.result_without_facts(segment.where)
        if isinstance(node, Not):
            negated = self.result_without_facts(node.not_)
            return None if negated is None else not negated
        if isinstance(node, AllOf | AnyOf):
            settling_value = isinstance(node, AnyOf)
            children = {self.result_without_facts(child) for child in children_of(node)}
            return settling_value if settling_value in children else None if None in children else not settling_value
        if node.depends_on is not Dependency.NOTHING:
            return None
        return bind_leaf(node, self._plan.registers, self._plan.lists)(self._empty_profile, self._at_ms).holds

    @cached_property
    def _empty_profile(self) -> ProfileFacts:
        values = {name: answer.value for name, answer in self._plan.evaluate_computed(EMPTY_PROFILE, self._at_ms).items()}
        return ProfileFacts(computed={name: value for name, value in values.items() if value is not None})
