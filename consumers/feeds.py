"""The table of what ClickHouse keeps: each topic, the type of its records, and the tables that a record leaves rows in.

A topic that is to be kept in ClickHouse needs one entry here, a row builder in `warehouse.rows` and a table in
`warehouse.tables`. `events` has a module of its own: a record of it that cannot be decoded is still accounted for in the ledger.
"""

from typing import Final

from consumers.batch import Feed, build_feed
from consumers.definitions import DEFINITIONS_FEED
from consumers.events import EVENTS_FEED
from schemas.records import Delivery, GroupRecord, Identity, LinkRecord, Profile, QuarantineRecord, Transition
from warehouse import rows, tables

# `links` also carries requests to compute clusters again. They are no facts about customers: the row builders leave them out.
LINKS_FEED: Final = build_feed("links", LinkRecord, {tables.EVIDENCE: rows.evidence_rows, tables.DECISIONS: rows.decision_rows})
IDENTITIES_FEED: Final = build_feed("identities", Identity, {tables.LABELS: rows.label_rows, tables.IDENTITIES: rows.identity_rows})
PROFILES_FEED: Final = build_feed("profiles", Profile, {tables.PROFILES: rows.profile_rows})
MEMBERSHIPS_FEED: Final = build_feed("memberships", Transition, {tables.TRANSITIONS: rows.transition_rows})
GROUPS_FEED: Final = build_feed(
    "groups", GroupRecord, {tables.ACCOUNT_TRAITS: rows.account_trait_rows, tables.CONTRIBUTIONS: rows.contribution_rows}
)
DELIVERIES_FEED: Final = build_feed("deliveries", Delivery, {tables.DELIVERIES: rows.delivery_rows})
QUARANTINE_FEED: Final = build_feed(
    "quarantine", QuarantineRecord, {tables.QUARANTINE: rows.quarantine_rows, tables.SETTLEMENTS: rows.settlement_rows}
)

FEEDS: Final[tuple[Feed, ...]] = (
    EVENTS_FEED,
    LINKS_FEED,
    IDENTITIES_FEED,
    PROFILES_FEED,
    MEMBERSHIPS_FEED,
    GROUPS_FEED,
    DELIVERIES_FEED,
    QUARANTINE_FEED,
    DEFINITIONS_FEED,
)
