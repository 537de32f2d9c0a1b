"""The definitions that the stream agents work with."""

from typing import Final

from domain.definitions.live import LiveDefinitions
from domain.intake.admission import Admission
from runtime.geoip import open_locator
from runtime.logs import get_logger
from runtime.settings import Settings
from streams import metrics

log: Final = get_logger(__name__)


def build_definitions(settings: Settings) -> LiveDefinitions:
    """Return empty definitions that compile what the agents need. Raises Misconfigured when the GeoIP file cannot be read."""
    return LiveDefinitions(
        secret=settings.tenant_secret.get_secret_value().encode(),
        country=settings.default_country,
        admission=Admission(open_locator(settings.geoip_file), metrics.count_violation),
        report_invalid=lambda key, reason: log.warning("definition_skipped", key=key, reason=reason),
    )
