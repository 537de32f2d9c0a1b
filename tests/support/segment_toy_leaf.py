"""A leaf that the product does not have, taken through everything that the segment language does with a leaf.

Run as a process of its own (`python -m tests.support.segment_toy_leaf`): it adds the leaf to the table before anything
else reads it, which is what a line in `domain.segments.leaves` does. It prints what each part answered, as JSON.
"""

import json
import sys
from typing import ClassVar

from domain.segments import leaves
from domain.segments.event_filter import EventFilter, event_filter_text, event_sql, newest_register
from domain.segments.leaves.leaf import LeafCondition, LeafInputs, SqlContext
from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Register
from domain.segments.windows import entries_in_window


class SeenCondition(LeafCondition):
    """The event was seen."""

    seen: EventFilter

    example: ClassVar = {"seen": {"event": "Toy Bought", "within": "1h"}}

    def registers(self) -> tuple[Register, ...]:
        return (newest_register(self.seen, 1),)

    def evaluate(self, inputs: LeafInputs, facts: ProfileFacts, now_ms: int) -> LeafResult:
        in_window = entries_in_window(facts.entries(inputs.registers[0]), self.seen.within, now_ms)
        return LeafResult(len(in_window.entries), bool(in_window.entries), in_window.next_change_ms, in_window.entries)

    def sql(self, context: SqlContext) -> str:
        return f"{context.columns.profile_column(f'countIf({event_sql(context.columns, self.seen)})')} > 0"

    def subject(self) -> str:
        return f"seen {event_filter_text(self.seen)}"

    def exactness_limit(self, register: Register) -> str:
        return f"toy limit {register.capacity}"


def main() -> None:
    """Print what the language makes of the leaf."""
    assert "domain.segments.language" not in sys.modules, "the table was read before the leaf was added"
    leaves.LEAVES = (*leaves.LEAVES, SeenCondition)  # type: ignore[misc]  # Final: only this stands for a line in the table

    from domain.definitions.json_schema import definition_schema
    from domain.definitions.kinds import InvalidDefinition
    from domain.definitions.segment_plan import segment_plan_of
    from domain.segments.explain import SegmentExplainer
    from domain.segments.register_bounds import register_bounds
    from domain.segments.sql.compile import membership_query
    from tests.support.segments import customer_event, facts, segment

    plan = segment_plan_of([segment("toy", {"not": {"not": SeenCondition.example}})])
    profile_facts = facts(plan, [customer_event("Toy Bought", 1_000)])
    result = plan.evaluate(profile_facts, 2_000)["toy"]
    query = membership_query(plan, "toy", 2_000)
    tree = SegmentExplainer(plan).explain("toy", profile_facts, 2_000).tree
    [explained] = [node for node in tree.walk() if node.keyword == "seen"]
    try:
        segment("wrong", {"seen": {"evnt": "Toy Bought"}})
        refusal = ""
    except InvalidDefinition as error:
        refusal = str(error)
    print(  # noqa: T201 - its output is its answer
        json.dumps(
            {
                "is_member": result.is_member,
                "next_change_ms": result.next_change_ms,
                "affected": sorted(plan.affected_by({"Toy Bought"})[1]),
                "sql": query.sql,
                "parameters": [str(value) for value in query.parameters.values()],
                "text": explained.text,
                "evidence": [evidence.count for evidence in explained.evidence],
                "flips_at_ms": explained.flips_at_ms,
                "bounds": [(bound.path, bound.exact_while) for bound in register_bounds(plan) if bound.owner == "toy"],
                "schema": definition_schema("segment")["$defs"]["Node"]["properties"]["seen"],
                "refusal": refusal,
            }
        )
    )


if __name__ == "__main__":
    main()
