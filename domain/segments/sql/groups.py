"""Accounts, households and lists in SQL: who is in one that is as asked. What groups are is what was last said of them. Pure."""

from collections.abc import Iterable

from domain.segments.comparisons import TraitLeaf
from domain.segments.leaf_models import AccountLeaf, HouseholdLeaf
from domain.segments.sql.columns import CURRENT_LABELS_SQL
from domain.segments.sql.comparisons import holds, value_below
from domain.segments.sql.query import QueryParameters, all_of, any_of


def _members_sql(kind: str) -> str:
    """Who contributes to groups of a kind, each profile as it is called now."""
    return f"""
    SELECT c.group_id AS group_id, if(l.profile_id = '', c.profile_id, l.profile_id) AS profile_id, min(c.rank) AS rank,
        max(c.most) AS most
    FROM contribution_store AS c FINAL
    LEFT ANY JOIN {CURRENT_LABELS_SQL} AS l ON l.node = c.profile_id
    WHERE c.present AND c.kind = '{kind}'
    GROUP BY group_id, profile_id"""


def _trait_sql(
    parameters: QueryParameters, trait: TraitLeaf, source: str, name_column: str, register_column: str
) -> tuple[str, str]:
    """(what is worked out of each group, the condition over it)."""
    keys = trait.path.split(".")
    trait_names = [trait.path] if len(keys) == 1 else [trait.path, keys[0]]
    columns = [
        f"maxIf({register_column}, {name_column} = {parameters.text(trait_name)}).3 AS t{index}"
        for index, trait_name in enumerate(trait_names)
    ]
    value = "t0" if len(keys) == 1 else f"if(is_given(t0), t0, {value_below(parameters, 't1', keys[1:])})"
    return f"SELECT group_id, {', '.join(columns)} {source} GROUP BY group_id", holds(parameters, trait.comparison, value)


def account_sql(parameters: QueryParameters, leaf: AccountLeaf) -> str:
    """One of the accounts is all that is asked."""
    members_sql = _members_sql("account")
    conditions, joins = ["true"], ""
    if leaf.members is not None:
        sizes_sql = f"SELECT group_id, count() AS size FROM ({members_sql}) GROUP BY group_id"
        joins += f"\n    LEFT ANY JOIN ({sizes_sql}) AS n ON n.group_id = m.group_id"
        conditions.append(f"size >= {parameters.integer(leaf.members.at_least)}")
    if leaf.trait is not None:
        columns, condition = _trait_sql(parameters, leaf.trait, "FROM account_trait_store", "trait", "register")
        joins += f"\n    LEFT ANY JOIN ({columns}) AS t ON t.group_id = m.group_id"
        conditions.append(condition)
    return f"profile_id IN (SELECT m.profile_id FROM ({members_sql}) AS m {joins}\n    WHERE {all_of(conditions)})"


def household_sql(parameters: QueryParameters, leaf: HouseholdLeaf) -> str:
    """The household is all that is asked. It is the first, by rank, of those that have two members or more, and not too many."""
    members_sql = _members_sql("household")
    sizes_sql = f"SELECT group_id, count() AS size FROM ({members_sql}) GROUP BY group_id HAVING size BETWEEN 2 AND max(most)"
    households_sql = f"""
        SELECT m.profile_id AS profile_id, argMin(m.group_id, m.rank) AS group_id, argMin(n.size, m.rank) AS size
        FROM ({members_sql}) AS m
        INNER JOIN ({sizes_sql}) AS n ON n.group_id = m.group_id
        GROUP BY profile_id"""
    conditions, joins = ["true"], ""
    if leaf.members is not None:
        conditions.append(f"h.size >= {parameters.integer(leaf.members.at_least)}")
    if leaf.trait is not None:
        source = """FROM contribution_store FINAL ARRAY JOIN mapKeys(traits) AS trait, mapValues(traits) AS register
            WHERE kind = 'household' AND present"""
        columns, condition = _trait_sql(parameters, leaf.trait, source, "trait", "register")
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
        conditions.append(f"times >= {parameters.integer(leaf.did.at_least)}")
    return f"profile_id IN (SELECT h.profile_id FROM ({households_sql}) AS h {joins}\n    WHERE {all_of(conditions)})"


def list_sql(parameters: QueryParameters, nodes: Iterable[str]) -> str:
    """One of the profile's identifiers is on the list. An identifier without a label is a profile of its own."""
    listed_nodes = list(nodes)
    labelled_sql = f"SELECT profile_id FROM {CURRENT_LABELS_SQL} WHERE {parameters.is_one_of('node', listed_nodes)}"
    return any_of([parameters.is_one_of("profile_id", listed_nodes), f"profile_id IN ({labelled_sql})"])
