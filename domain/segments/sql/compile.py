"""A whole segment, or computed trait, as one statement. Pure."""

from functools import cached_property
from typing import Any

from domain.segments.profile_facts import Facts
from domain.segments.language import (Account, AllOf, AnyOf, Calendar, Everyone, First, Household, InList, InSegment, Last, Lifecycle, Node, Not, Percent, Rfm, Sequence, Trait)
from domain.segments.plan import Plan
from domain.segments.sql import groups, leaves
from domain.segments.sql.calendar import calendar
from domain.segments.sql.functions import declared
from domain.segments.sql.query import (Parameters, Query, all_of, any_of)
from domain.segments.sql.columns import Rows
from domain.segments.sql.computed_traits import computed
from domain.segments.sql.comparisons import below, trait_holds
from domain.segments.tree import answers, leaf_of

NOBODY = Facts()


def membership(plan: Plan, name: str, at_ms: int) -> Query:
    """Who is in a segment at an instant: one row (profile_id) per member. Raises KeyError for a segment that is not defined."""
    where = plan.segments[name].spec.where
    compiler = _Compiler(plan, at_ms)
    compiler.rows.everybody = compiler.empty(where) is not False
    condition = compiler.condition(where)
    return _query(compiler.rows, f"SELECT profile_id\nFROM\n({compiler.rows.sql()}\n)\nWHERE {condition}")


def computed_values(plan: Plan, name: str, at_ms: int) -> Query:
    """The values of a computed trait at an instant: one row (profile_id, value as JSON text) per profile that has one.

    Raises KeyError for a trait that is not defined.
    """
    rows = Rows(Parameters(), at_ms)
    rows.everybody = plan.compute(NOBODY, at_ms, [name])[name].value is not None
    value = computed(rows, plan.computed[name].spec)
    inner = f"SELECT profile_id, {value} AS value\n    FROM\n    ({rows.sql()}\n    )"
    return _query(rows, f"SELECT profile_id, value\nFROM\n(\n    {inner}\n)\nWHERE value != ''")


def _query(rows: Rows, sql: str) -> Query:
    functions = declared(sql)
    return Query(f"WITH\n{functions}\n{sql}" if functions else sql, rows.parameters.values)


class _Compiler:
    """The condition of one segment, with those that it names written into it."""

    def __init__(self, plan: Plan, at_ms: int) -> None:
        self._plan = plan
        self._at_ms = at_ms
        self._parameters = Parameters()
        self.rows = Rows(self._parameters, at_ms)

    def condition(self, node: Node) -> str:
        """A node as a condition over the columns of a profile."""
        if isinstance(node, InSegment):
            named = self._plan.segments.get(node.in_segment)
            return "false" if named is None else self.condition(named.spec.where)
        if isinstance(node, Not):
            return f"NOT ({self.condition(node.not_)})"
        if isinstance(node, AllOf):
            return all_of(f"({self.condition(child)})" for child in node.all)
        if isinstance(node, AnyOf):
            return any_of(f"({self.condition(child)})" for child in node.any)
        return self._leaf(node)

    def _leaf(self, node: Any) -> str:
        match node:
            case Everyone():
                return "true"
            case Trait():
                return trait_holds(self._parameters, node.trait, self._trait(node.trait.path), self._at_ms)
            case First():
                return leaves.occurrence(self.rows, node.first, "first")
            case Last():
                return leaves.occurrence(self.rows, node.last, "last")
            case Sequence():
                return leaves.sequence(self.rows, node.sequence)
            case InList():
                return groups.listed(self._parameters, self._plan.lists.get(node.list, ()))
            case Account():
                return groups.account(self._parameters, node.account)
            case Household():
                return groups.household(self._parameters, node.household)
            case Calendar():
                born, zone = self._trait(node.calendar.trait), self._trait(node.calendar.zone_trait)
                return calendar(self._parameters, node.calendar, born, zone, self._at_ms)
            case Lifecycle():
                stage = self._computed(node.lifecycle.of)
                return self._parameters.is_one_of(stage, [f'"{one}"' for one in node.lifecycle.stage])
            case Rfm():
                return self._rfm(node)
        return str(leaves.EVENT_LEAVES[type(leaf_of(node))](self.rows, leaf_of(node)))

    def _rfm(self, node: Rfm) -> str:
        scores, leaf = self._computed(node.rfm.of), node.rfm
        asked = {"recency": leaf.recency, "frequency": leaf.frequency, "monetary": leaf.monetary}
        return all_of(
            any_of(f"JSONExtractRaw({scores}, '{name}') = '{score}'" for score in wanted)
            for name, wanted in asked.items()
            if wanted
        )

    def _trait(self, path: str) -> str:
        """The value at a path; `computed.NAME` is a computed trait."""
        if not path.startswith("computed."):
            return self.rows.trait(path)
        name, *parts = path[len("computed.") :].split(".")
        return below(self._parameters, self._computed(name), parts)

    def _computed(self, name: str) -> str:
        known = self._plan.computed.get(name)
        return "''" if known is None else computed(self.rows, known.spec)

    def empty(self, node: Node) -> bool | None:
        """What a node is for a profile of which nothing is known; None when that depends on the profile."""
        if isinstance(node, InSegment):
            named = self._plan.segments.get(node.in_segment)
            return False if named is None else self.empty(named.spec.where)
        if isinstance(node, Not):
            inner = self.empty(node.not_)
            return None if inner is None else not inner
        if isinstance(node, AllOf | AnyOf):
            settles = isinstance(node, AnyOf)
            children = {self.empty(child) for child in (node.any if isinstance(node, AnyOf) else node.all)}
            return settles if settles in children else None if None in children else not settles
        if isinstance(node, Percent | InList | Account | Household):
            return None
        return answers(node, self._plan.registers, self._plan.lists)(self._nobody, self._at_ms).holds

    @cached_property
    def _nobody(self) -> Facts:
        values = {name: answer.value for name, answer in self._plan.compute(NOBODY, self._at_ms).items()}
        return Facts(computed={name: value for name, value in values.items() if value is not None})
