"""Enrich an event: derive facts about the visitor's surroundings from the event itself. Pure: equal events give equal events.

What the client sent is never changed. `context.campaign` and `context.referrer` are added when they are missing, as Segment's
clients would have sent them. Everything else goes into `context.enriched`, a name that only Onefold writes.

Example: `context.userAgent` of Chrome 126 on Android adds `context.enriched.browser == {"name": "Chrome Mobile", "version": ...}`.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from domain.intake.call_fields import is_absent_object
from domain.intake.enrichment import arrival, user_agent
from domain.intake.enrichment.spec import DEFAULT_ENRICHMENT, EnrichSpec
from domain.intake.enrichment.timezones import current_name
from domain.intake.enrichment.types import GeoLocator
from schemas.events import BOT_FLAG, Event

ENRICHED: Final = "enriched"


def enrich(event: Event, spec: EnrichSpec = DEFAULT_ENRICHMENT, locate: GeoLocator | None = None) -> Event:
    """Return the event with what `spec` asks for added. Enriching an enriched event changes nothing."""
    context = event.context
    if not context:
        return event
    additions: dict[str, Any] = {}
    enriched: dict[str, Any] = {}
    flags = event.flags
    if agent_text := _text_at(context, "userAgent"):
        if spec.user_agent:
            enriched.update(user_agent.describe(agent_text))
        if spec.bots and BOT_FLAG not in flags and user_agent.is_bot(agent_text):
            flags = tuple(sorted({*flags, BOT_FLAG}))
    if isinstance(page := context.get("page"), dict):
        _add_arrival(context, page, spec, additions, enriched)
    if spec.geo and locate is not None and (address := _text_at(context, "ip")) and (location := locate(address)):
        enriched["location"] = location
    if spec.timezone and (zone := _text_at(context, "timezone")):
        enriched["timezone"] = current_name(zone)
    if enriched:
        additions[ENRICHED] = enriched
    if not additions and flags is event.flags and ENRICHED not in context:
        return event
    client_context = {name: value for name, value in context.items() if name != ENRICHED} if ENRICHED in context else context
    return msgspec.structs.replace(event, context={**client_context, **additions}, flags=flags)


def _add_arrival(
    context: Mapping[str, Any], page: Mapping[str, Any], spec: EnrichSpec, additions: dict[str, Any], enriched: dict[str, Any]
) -> None:
    """Add the campaign, the advertising click and the kind of referrer of the page."""
    url = _text_at(page, "url")
    if spec.campaign and url:
        if is_absent_object(context.get("campaign")) and (campaign := arrival.parse_campaign(url)):
            additions["campaign"] = dict(campaign)
        if ad_click := arrival.parse_click(url):
            enriched["click"] = ad_click
    if spec.referrer and is_absent_object(context.get("referrer")) and (referrer_url := _text_at(page, "referrer")):
        classified_referrer = arrival.classify_referrer(referrer_url, url)
        if classified_referrer:
            additions["referrer"] = dict(classified_referrer)


def _text_at(mapping: Mapping[str, Any], field: str) -> str:
    value = mapping.get(field)
    return value if isinstance(value, str) else ""
