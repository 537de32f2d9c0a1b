"""What `account` and `household` share: conditions on a group of profiles, in the stream and over the tables of groups."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from domain.fields import EventName, StrictModel, WholeNumber
from domain.segments.comparisons import holds, lookup
from domain.segments.leaves.trait import TraitLeaf, trait_text
from domain.segments.profile_facts import COMPUTED_PREFIX, GroupFacts
from domain.segments.sql.columns import CURRENT_LABELS_SQL
from domain.segments.sql.comparisons import comparison_sql, value_below
from domain.segments.sql.query import QueryParameters
from schemas.records import GroupKind


class MinimumMembers(StrictModel):
    """How many profiles a group has."""

    at_least: WholeNumber = Field(ge=1, le=10_000)


class MinimumEventCount(StrictModel):
    """`event` happened at least `at_least` times to all members together, over all time."""

    event: EventName
    at_least: WholeNumber = Field(default=1, ge=1, le=1000)


def validate_group_trait(trait: TraitLeaf | None) -> None:
    """Raise ValueError for what a group does not have: computed traits, and dates that would need timers of the group."""
    if trait is not None and (trait.relative_ms is not None or trait.path.startswith(COMPUTED_PREFIX)):
        raise ValueError("a group has no computed traits, and its dates are compared with `before` and `after` alone")


def group_matches(
    group: GroupFacts, trait: TraitLeaf | None, members: MinimumMembers | None, did: MinimumEventCount | None = None
) -> bool:
    """Return whether everything that is asked holds for this group."""
    if members is not None and group.members < members.at_least:
        return False
    if trait is not None and not holds(trait.comparison, lookup(group.traits, trait.path)):
        return False
    return did is None or group.counters.get(did.event, 0) >= did.at_least


def group_expectation(trait: TraitLeaf | None, members: MinimumMembers | None, did: MinimumEventCount | None = None) -> str:
    """Return what is asked of a group, in words."""
    return ", ".join(_expectation_parts(trait, members, did))


def _expectation_parts(trait: TraitLeaf | None, members: MinimumMembers | None, did: MinimumEventCount | None) -> Iterator[str]:
    if trait is not None:
        yield f"{trait.path} {trait_text(trait)}"
    if members is not None:
        yield f"at least {members.at_least} members"
    if did is not None:
        yield f"{did.event} at least {did.at_least} times"


def group_details(group: GroupFacts, trait: TraitLeaf | None, did: MinimumEventCount | None = None) -> dict[str, Any]:
    """Return what a group has of that which is asked, for explanations."""
    details: dict[str, Any] = {"members": group.members}
    if trait is not None:
        details[trait.path] = lookup(group.traits, trait.path)
    if did is not None:
        details[did.event] = group.counters.get(did.event, 0)
    return details


def members_sql(kind: GroupKind) -> str:
    """Write who contributes to groups of a kind, each profile by its current id."""
    return f"""
    SELECT c.group_id AS group_id, if(l.profile_id = '', c.profile_id, l.profile_id) AS profile_id, min(c.rank) AS rank,
        max(c.most) AS most
    FROM contribution_store AS c FINAL
    LEFT ANY JOIN {CURRENT_LABELS_SQL} AS l ON l.node = c.profile_id
    WHERE c.present AND c.kind = '{kind}'
    GROUP BY group_id, profile_id"""


def group_trait_sql(parameters: QueryParameters, trait: TraitLeaf, source: str) -> tuple[str, str]:
    """Write (a query for the trait of each group, the condition over its columns).

    `source` is a FROM clause with the columns `group_id`, `trait` and `register`, a register being (trusted, time, id, value).
    """
    keys = trait.path.split(".")
    # A dotted path is first a name as it stands, and else a path into the trait named by its first part, as in
    # `comparisons.lookup`.
    trait_names = [trait.path] if len(keys) == 1 else [trait.path, keys[0]]
    columns = [
        f"maxIf(register, trait = {parameters.text(trait_name)}).4 AS t{index}" for index, trait_name in enumerate(trait_names)
    ]
    value = "t0" if len(keys) == 1 else f"if(is_given(t0), t0, {value_below(parameters, 't1', keys[1:])})"
    return f"SELECT group_id, {', '.join(columns)} {source} GROUP BY group_id", comparison_sql(parameters, trait.comparison, value)
