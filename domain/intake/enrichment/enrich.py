"""Enriching an event: what can be said of its surroundings from what it says itself. Pure: the same event gives the same event.

What the client sent is never changed. `context.campaign` and `context.referrer` are added when they are missing, as Segment's
clients would have sent them; everything else is in `context.enriched`, a name that is ours alone.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from domain.intake.enrichment import arrival, user_agent
from domain.intake.enrichment.timezones import canonical
from domain.intake.enrichment.types import Locate
from schemas.events import BOT, Event

OURS: Final = "enriched"


class EnrichSpec(BaseModel):
    """What is added to a source's events. All of it is on; `geo` does nothing without a database of places."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_agent: bool = Field(default=True, description="browser, os and device from context.userAgent")
    bots: bool = Field(default=True, description="the flag `bot`, by context.userAgent")
    campaign: bool = Field(default=True, description="context.campaign and the advertising click from the page's address")
    referrer: bool = Field(default=True, description="context.referrer: what kind of place the visitor came from")
    geo: bool = Field(default=True, description="location from context.ip")
    timezone: bool = Field(default=True, description="the name that context.timezone has today")


DEFAULT: Final = EnrichSpec()


def enrich(event: Event, spec: EnrichSpec = DEFAULT, locate: Locate | None = None) -> Event:
    """The event with what its own words tell. Doing it again changes nothing."""
    context = event.context
    if not context:
        return event
    added: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    flags = event.flags
    if agent := _text(context, "userAgent"):
        if spec.user_agent:
            ours.update(user_agent.described(agent))
        if spec.bots and BOT not in flags and user_agent.is_bot(agent):
            flags = tuple(sorted({*flags, BOT}))
    if isinstance(page := context.get("page"), dict):
        _arrived(context, page, spec, added, ours)
    if spec.geo and locate is not None and (address := _text(context, "ip")) and (found := locate(address)):
        ours["location"] = found
    if spec.timezone and (zone := _text(context, "timezone")):
        ours["timezone"] = canonical(zone)
    if ours:
        added[OURS] = ours
    if not added and flags is event.flags and OURS not in context:
        return event
    kept = {name: value for name, value in context.items() if name != OURS} if OURS in context else context
    return msgspec.structs.replace(event, context={**kept, **added}, flags=flags)


def _arrived(
    context: Mapping[str, Any], page: Mapping[str, Any], spec: EnrichSpec, added: dict[str, Any], ours: dict[str, Any]
) -> None:
    """What the page's address and its referrer tell."""
    url = _text(page, "url")
    if spec.campaign and url:
        if context.get("campaign") is None and (found := arrival.campaign(url)):
            added["campaign"] = dict(found)
        if clicked := arrival.click(url):
            ours["click"] = clicked
    if spec.referrer and context.get("referrer") is None and (came := _text(page, "referrer")):
        from_where = arrival.referrer(came, url)
        if from_where:
            added["referrer"] = dict(from_where)


def _text(held: Mapping[str, Any], field: str) -> str:
    value = held.get(field)
    return value if isinstance(value, str) else ""
