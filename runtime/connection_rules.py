"""Checks the settings of connections together: a password that no protocol asks for protects nothing, nor do files without TLS."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime.settings import Settings

_TLS_SCHEMES: Final = {"redis": ("rediss", "rediss+cluster"), "clickhouse": ("https",)}


def connection_faults(settings: "Settings") -> Iterator[str]:
    """Yield what is wrong with the settings of Kafka, Redis and ClickHouse, each with the cure, without any value of a secret."""
    yield from _kafka_faults(settings)
    for service, url in (("redis", settings.redis_url), ("clickhouse", settings.clickhouse_url)):
        yield from _address_faults(settings, service, url.get_secret_value())


def _kafka_faults(settings: "Settings") -> Iterator[str]:
    protocol = settings.kafka_security_protocol
    login = (settings.kafka_user, settings.kafka_password)
    if protocol.startswith("SASL_"):
        if None in login:
            yield f"ONEFOLD_KAFKA_SECURITY_PROTOCOL={protocol} needs ONEFOLD_KAFKA_USER and ONEFOLD_KAFKA_PASSWORD: set both"
    elif any(part is not None for part in login):
        yield (
            f"ONEFOLD_KAFKA_USER and ONEFOLD_KAFKA_PASSWORD are of no use with ONEFOLD_KAFKA_SECURITY_PROTOCOL={protocol}: "
            "choose SASL_SSL or SASL_PLAINTEXT, or unset them"
        )
    yield from _file_faults(settings, "kafka", protocol.endswith("SSL"), "ONEFOLD_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")


def _address_faults(settings: "Settings", service: str, url: str) -> Iterator[str]:
    prefix = f"ONEFOLD_{service.upper()}"
    scheme, _, rest = url.partition("://")
    user, password = getattr(settings, f"{service}_user"), getattr(settings, f"{service}_password")
    if "@" in rest.partition("/")[0] and (user is not None or password is not None):
        yield f"{prefix}_URL holds a user or password, and {prefix}_USER or {prefix}_PASSWORD is set too: leave out one of them"
    if user is not None and password is None:
        yield f"{prefix}_USER needs {prefix}_PASSWORD: set both"
    schemes = _TLS_SCHEMES[service]
    yield from _file_faults(settings, service, scheme in schemes, f"an address in {prefix}_URL that begins with {schemes[0]}")


def _file_faults(settings: "Settings", service: str, uses_tls: bool, cure: str) -> Iterator[str]:  # noqa: FBT001
    prefix = f"ONEFOLD_{service.upper()}"
    names = [
        name for name in ("ca_file", "certificate_file", "key_file") if getattr(settings, f"{service}_{name}", None) is not None
    ]
    if names and not uses_tls:
        yield f"{prefix}_{names[0].upper()} is of no use without TLS: it needs {cure}"
    if "key_file" in names and "certificate_file" not in names:
        yield f"{prefix}_KEY_FILE needs {prefix}_CERTIFICATE_FILE: set both"
