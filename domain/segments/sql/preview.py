"""How many a segment would have, and some of them. Pure."""

from typing import Final

from domain.segments.plan import SegmentPlan
from domain.segments.sql.compile import membership_query
from domain.segments.sql.query import SqlQuery

MAX_SAMPLE: Final = 1_000


def preview_query(plan: SegmentPlan, name: str, at_ms: int, sample: int = 10) -> SqlQuery:
    """One row: how many members there are at an instant, and the ids of at most `sample` of them (1 to MAX_SAMPLE), in order.

    Which of them depends on nothing but their ids, so a preview repeated shows the same people. One pass over the events that the
    segment looks at, and only counts are kept of it. Raises KeyError for a segment that is not defined.
    """
    sample_size = min(max(int(sample), 1), MAX_SAMPLE)
    members = membership_query(plan, name, at_ms)
    sample_function = f"groupArraySorted({sample_size})((sipHash64(profile_id), profile_id))"
    return SqlQuery(
        f"SELECT count() AS members, arraySort({sample_function}.2) AS sample\nFROM\n(\n{members.sql}\n)", members.parameters
    )
