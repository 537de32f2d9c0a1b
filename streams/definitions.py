"""The definitions that the stream agents work with."""

from typing import Final

from domain.definitions.live import LiveDefinitions, UnreadableRules
from domain.identity.rules import CompiledIdentityRules
from domain.intake.admission import Admission
from runtime.errors import Transient
from runtime.geoip import open_locator
from runtime.logs import get_logger
from runtime.settings import Settings
from streams import metrics

log: Final = get_logger(__name__)


def build_definitions(settings: Settings) -> LiveDefinitions:
    """Return empty definitions that compile what the agents need. Raises Misconfigured when the GeoIP file cannot be read."""
    return LiveDefinitions(
        secret=settings.tenant_key,
        country=settings.default_country,
        admission=Admission(open_locator(settings.geoip_file), metrics.count_violation),
        report_bad=lambda record: log.warning("definition_skipped", offset=record.offset, key=record.key, reason=record.reason),
    )


async def show_bad_records(definitions: LiveDefinitions) -> None:
    """Show in the metrics how many records of the topic cannot be read."""
    metrics.show_bad_definitions(len(definitions.bad_records))


def readable_rules(definitions: LiveDefinitions) -> CompiledIdentityRules:
    """Return the identity rules in force. Raises Transient while they cannot be read: their slices wait until they are replaced."""
    try:
        return definitions.rules
    except UnreadableRules as error:
        raise Transient(str(error)) from None
