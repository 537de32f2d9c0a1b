"""Accounts, households and lists in SQL: who is in one that is as asked. What groups are is what was last said of them. Pure."""

from collections.abc import Iterable

from domain.segments.comparisons import TraitLeaf
from domain.segments.leaf_models import AccountLeaf, HouseholdLeaf
from domain.segments.sql.query import Parameters, all_of, any_of
from domain.segments.sql.columns import NOW_LABELS
from domain.segments.sql.comparisons import below, holds


def _members(kind: str) -> str:
    """Who contributes to groups of a kind, each profile as it is called now."""
    return f"""
    SELECT c.group_id AS group_id, if(l.profile_id = '', c.profile_id, l.profile_id) AS profile_id, min(c.rank) AS rank,
        max(c.most) AS most
    FROM contribution_store AS c FINAL
    LEFT ANY JOIN {NOW_LABELS} AS l ON l.node = c.profile_id
    WHERE c.present AND c.kind = '{kind}'
    GROUP BY group_id, profile_id"""


def _traits(parameters: Parameters, trait: TraitLeaf, source: str, name: str, register: str) -> tuple[str, str]:
    """(what is worked out of each group, the condition over it)."""
    parts = trait.path.split(".")
    wanted = [trait.path] if len(parts) == 1 else [trait.path, parts[0]]
    columns = [f"maxIf({register}, {name} = {parameters.text(one)}).3 AS t{n}" for n, one in enumerate(wanted)]
    value = "t0" if len(parts) == 1 else f"if(is_given(t0), t0, {below(parameters, 't1', parts[1:])})"
    return f"SELECT group_id, {', '.join(columns)} {source} GROUP BY group_id", holds(parameters, trait.condition, value)


def account(parameters: Parameters, leaf: AccountLeaf) -> str:
    """One of the accounts is all that is asked."""
    members = _members("account")
    conditions, joins = ["true"], ""
    if leaf.members is not None:
        sizes = f"SELECT group_id, count() AS size FROM ({members}) GROUP BY group_id"
        joins += f"\n    LEFT ANY JOIN ({sizes}) AS n ON n.group_id = m.group_id"
        conditions.append(f"size >= {parameters.whole(leaf.members.at_least)}")
    if leaf.trait is not None:
        columns, condition = _traits(parameters, leaf.trait, "FROM account_trait_store", "trait", "register")
        joins += f"\n    LEFT ANY JOIN ({columns}) AS t ON t.group_id = m.group_id"
        conditions.append(condition)
    return f"profile_id IN (SELECT m.profile_id FROM ({members}) AS m {joins}\n    WHERE {all_of(conditions)})"


def household(parameters: Parameters, leaf: HouseholdLeaf) -> str:
    """The household is all that is asked. It is the first, by rank, of those that have two members or more, and not too many."""
    members = _members("household")
    sizes = f"SELECT group_id, count() AS size FROM ({members}) GROUP BY group_id HAVING size BETWEEN 2 AND max(most)"
    homes = f"""
        SELECT m.profile_id AS profile_id, argMin(m.group_id, m.rank) AS group_id, argMin(n.size, m.rank) AS size
        FROM ({members}) AS m
        INNER JOIN ({sizes}) AS n ON n.group_id = m.group_id
        GROUP BY profile_id"""
    conditions, joins = ["true"], ""
    if leaf.members is not None:
        conditions.append(f"h.size >= {parameters.whole(leaf.members.at_least)}")
    if leaf.trait is not None:
        source = """FROM contribution_store FINAL ARRAY JOIN mapKeys(traits) AS trait, mapValues(traits) AS register
            WHERE kind = 'household' AND present"""
        columns, condition = _traits(parameters, leaf.trait, source, "trait", "register")
        joins += f"\n    LEFT ANY JOIN ({columns}) AS t ON t.group_id = h.group_id"
        conditions.append(condition)
    if leaf.did is not None:
        joins += f"""
    LEFT ANY JOIN
    (
        SELECT group_id, sum(counters[{parameters.text(leaf.did.event)}]) AS times
        FROM contribution_store FINAL
        WHERE kind = 'household' AND present
        GROUP BY group_id
    ) AS d ON d.group_id = h.group_id"""
        conditions.append(f"times >= {parameters.whole(leaf.did.at_least)}")
    return f"profile_id IN (SELECT h.profile_id FROM ({homes}) AS h {joins}\n    WHERE {all_of(conditions)})"


def listed(parameters: Parameters, nodes: Iterable[str]) -> str:
    """One of the profile's identifiers is on the list. An identifier without a label is a profile of its own."""
    found = list(nodes)
    labelled = f"SELECT profile_id FROM {NOW_LABELS} WHERE {parameters.is_one_of('node', found)}"
    return any_of([parameters.is_one_of("profile_id", found), f"profile_id IN ({labelled})"])
