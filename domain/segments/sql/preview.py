"""The query behind a preview: how many members a segment has, and a sample of them. Pure."""

from typing import Final

from domain.segments.plan import SegmentPlan
from domain.segments.sql.compile import membership_query
from domain.segments.sql.query import SqlQuery

MAX_SAMPLE: Final = 1_000


def preview_query(plan: SegmentPlan, name: str, at_ms: int, sample: int = 10) -> SqlQuery:
    """Return a query with one row: how many members there are at an instant, and the ids of at most `sample` of them, in order.

    `sample` is cut to 1 to MAX_SAMPLE. Which members are in it depends on nothing but their ids, so a repeated preview
    shows the same people. The query reads the relevant events once and stores only counts. Raises KeyError for a
    segment that is not defined.
    """
    sample_size = min(max(int(sample), 1), MAX_SAMPLE)
    members = membership_query(plan, name, at_ms)
    sample_function = f"groupArraySorted({sample_size})((sipHash64(profile_id), profile_id))"
    return SqlQuery(
        f"SELECT count() AS members, arraySort({sample_function}.2) AS sample\nFROM\n(\n{members.sql}\n)", members.parameters
    )
