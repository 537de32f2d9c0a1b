"""Segments and their members, as ClickHouse has them from the transitions."""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ops.identity.references import format_instant
from warehouse import named_queries
from warehouse.client import Warehouse

# Identifiers by which a customer is reached or found in another system. A cookie or a device is neither.
CONTACT_NAMESPACES: Final = ("user_id", "crm_id", "email", "phone")
COLUMNS: Final = ("profile_id", "since", "cause", "name", *CONTACT_NAMESPACES)
_FORMULA_STARTS: Final = ("=", "@", "+", "-", "\t", "\r")


@dataclass(frozen=True, slots=True)
class SegmentMember:
    """A profile that is in a segment since `since_ms`, with its contacts: the values of each namespace, as they are stored."""

    profile_id: str
    since_ms: int
    cause: str
    name: str
    contacts: Mapping[str, tuple[str, ...]]


async def count_members(warehouse: Warehouse, names: Iterable[str]) -> list[tuple[str, int]]:
    """Return every live segment with the number of its members, in the order of their names. Raises Transient."""
    rows = await named_queries.fetch_rows(warehouse, "segment_list")
    counts = {segment: count for segment, count, _ in rows}
    return [(name, counts.get(name, 0)) for name in sorted(names)]


async def stream_members(warehouse: Warehouse, segment: str) -> AsyncIterator[list[SegmentMember]]:
    """Yield the members of a segment block by block, the newest first. Raises Transient."""
    async for rows in named_queries.stream_rows(warehouse, "segment_members_with_contacts", segment=segment):
        yield [_member(*row) for row in rows]


def _member(profile_id: str, since_ms: int, cause: str, identifiers: Sequence[Any], traits: str) -> SegmentMember:
    contacts: dict[str, list[str]] = {namespace: [] for namespace in CONTACT_NAMESPACES}
    for identifier in identifiers:
        namespace, value = (identifier["namespace"], identifier["value"]) if isinstance(identifier, dict) else identifier
        if namespace in contacts:
            contacts[namespace].append(value)
    fields = json.loads(traits) if traits else {}
    whole = [fields.get("name")] if fields.get("name") else [fields.get("lastName"), fields.get("firstName")]
    name = " ".join(str(part) for part in whole if part)
    return SegmentMember(
        profile_id, since_ms, cause, name, {namespace: tuple(sorted(values)) for namespace, values in contacts.items()}
    )


def member_to_json(member: SegmentMember) -> dict[str, Any]:
    """Return a member for JSON."""
    return {
        "profile_id": member.profile_id,
        "since": format_instant(member.since_ms),
        "cause": member.cause,
        "name": member.name,
        **{namespace: list(values) for namespace, values in member.contacts.items()},
    }


def member_cells(member: SegmentMember) -> tuple[str, ...]:
    """Return a member's cells in the order of COLUMNS; several values of a namespace are separated by semicolons."""
    contacts = (";".join(member.contacts[namespace]) for namespace in CONTACT_NAMESPACES)
    return member.profile_id, format_instant(member.since_ms), member.cause, member.name, *contacts


def csv_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield lines of CSV by RFC 4180, each with its end.

    A cell that a spreadsheet would run as a formula gets an apostrophe before it; a phone number in E.164 is left as it is.
    """
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow([_without_formula(cell) for cell in row])
        yield line.getvalue()


def _without_formula(cell: str) -> str:
    is_phone = cell.startswith("+") and cell[1:].replace(";+", "").isdigit()
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) and not is_phone else cell
