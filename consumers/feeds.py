"""All feeds, one per topic that ClickHouse keeps."""

from typing import Final

from consumers import deliveries, events, groups, identities, links, memberships, profiles, quarantine
from consumers.batch import Feed

FEEDS: Final[tuple[Feed, ...]] = (
    events.FEED,
    links.FEED,
    identities.FEED,
    profiles.FEED,
    memberships.FEED,
    groups.FEED,
    deliveries.FEED,
    quarantine.FEED,
)
