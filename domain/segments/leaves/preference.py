"""What `consent` and `subscribed` share: the latest statement of a customer about a purpose or a channel."""

from domain.segments.profile_facts import LeafResult, ProfileFacts
from domain.segments.registers import Register
from domain.segments.sql.columns import ProfileColumns
from domain.segments.sql.query import all_of
from schemas.instants import NEVER

UNKNOWN = "unknown"


def evaluate_preference(
    register: Register, statuses: tuple[str, str], expected_status: str, facts: ProfileFacts, now_ms: int
) -> LeafResult:
    """Answer whether the latest statement is the expected one. `statuses` are the words for yes and no."""
    entries = facts.entries(register)
    entry = next((candidate for candidate in entries if candidate[0] <= now_ms), None)
    next_entry_ms = min((candidate[0] for candidate in entries if candidate[0] > now_ms), default=NEVER)
    status = UNKNOWN if entry is None else statuses[0] if entry[2] else statuses[1]
    return LeafResult(status, status == expected_status, next_entry_ms, () if entry is None else [entry])


def preference_sql(
    columns: ProfileColumns, has_status: str, is_positive: str, statuses: tuple[str, str], expected_status: str
) -> str:
    """Write the same. Of two statements at one instant the one that takes back counts, as in `Register.entry`."""
    if expected_status == UNKNOWN:
        return f"{columns.profile_column(f'countIf({has_status})')} = 0"
    latest_is_positive = columns.profile_column(f"argMaxIf({is_positive}, (at_ms, NOT {is_positive}), {has_status})")
    expected = latest_is_positive if expected_status == statuses[0] else f"NOT {latest_is_positive}"
    return all_of([f"{columns.profile_column(f'countIf({has_status})')} > 0", expected])
