"""What a Source asks enrichment to add. It lies apart from the code that enriches, so that definitions load no databases. Pure."""

from typing import Final

from pydantic import Field

from domain.fields import StrictModel


class EnrichSpec(StrictModel):
    """What is added to a source's events. Everything is on by default; `geo` does nothing without a GeoIP database."""

    user_agent: bool = Field(default=True, description="browser, os and device from context.userAgent")
    bots: bool = Field(default=True, description="the flag `bot`, by context.userAgent")
    campaign: bool = Field(default=True, description="context.campaign and the advertising click from the page's address")
    referrer: bool = Field(default=True, description="context.referrer: what kind of place the visitor came from")
    geo: bool = Field(default=True, description="location from context.ip")
    timezone: bool = Field(default=True, description="the name that context.timezone has today")


DEFAULT_ENRICHMENT: Final = EnrichSpec()
