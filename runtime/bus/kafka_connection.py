"""How every client reaches the broker: the arguments for aiokafka, made from the settings, and the reason when the broker refuses.

aiokafka tries each bootstrap server, logs why it was refused, and then raises that it could not connect: a wrong password looks as
a broker that is down. So a client that could not start is followed by one attempt of our own, which tells the two apart.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Final, Protocol

from aiokafka import errors as kafka_errors
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from runtime.errors import Misconfigured, OnefoldError, Transient
from runtime.settings import Settings
from runtime.tls import TlsFiles, explain_refusal

_REFUSED_LOGIN: Final = (
    kafka_errors.AuthenticationFailedError,
    kafka_errors.SaslAuthenticationFailed,
    kafka_errors.IllegalSaslStateError,
)
_UNKNOWN_MECHANISM: Final = (kafka_errors.AuthenticationMethodNotSupported, kafka_errors.UnsupportedSaslMechanismError)

_WRONG_PROOF: Final = (ValueError, KeyError)
"""What aiokafka's SCRAM raises when the answers are not those of a server that knows the password."""
_FAILURES: Final = (KafkaError, OSError, TimeoutError, *_WRONG_PROOF)
"""What a first contact may raise."""


class Startable(Protocol):
    """A client of aiokafka."""

    async def start(self) -> None:
        """Connect."""
        ...


def client_options(settings: Settings) -> dict[str, Any]:
    """Return aiokafka's arguments that say where the broker is and how to log in.

    Raises Misconfigured for certificates that cannot be read.
    """
    protocol = settings.kafka_security_protocol
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.kafka_bootstrap.split(",")],
        "security_protocol": protocol,
    }
    if protocol.startswith("SASL_") and settings.kafka_password is not None:
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_user
        options["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    if protocol.endswith("SSL"):
        options["ssl_context"] = TlsFiles.of(settings, "kafka").context()
    return options


async def start_client(client: Startable, options: Mapping[str, Any]) -> None:
    """Start a client of aiokafka.

    Raises Misconfigured, which names the setting, when a broker answers but refuses the user, the password or a certificate;
    otherwise what aiokafka raises.
    """
    try:
        await client.start()
    except (kafka_errors.KafkaConnectionError, *_WRONG_PROOF) as error:
        if (reason := await _find_reason(options)) is not None:
            raise reason from error
        raise


async def is_serving(options: Mapping[str, Any], timeout_s: float) -> bool:
    """Return whether the broker lets us in, and lists itself and a controller. It accepts connections long before that."""
    host, port, _ = collect_hosts(options["bootstrap_servers"])[0]
    try:
        async with asyncio.timeout(timeout_s):
            metadata = await _ask_metadata(options, host, port)
    except _FAILURES:
        return False
    return bool(metadata.brokers) and metadata.controller_id >= 0


async def _ask_metadata(options: Mapping[str, Any], host: str, port: int) -> Any:
    arguments = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    connection = await create_conn(host, port, **arguments)
    try:
        return await connection.send(MetadataRequest([]))
    finally:
        connection.close()
        await asyncio.sleep(0)  # the transport closes in the next turn of the loop


async def _find_reason(options: Mapping[str, Any]) -> OnefoldError | None:
    """Return why a bootstrap server refuses us, those first that an operator must correct; None when none of them answers."""
    reasons = []
    for host, port, _ in collect_hosts(options["bootstrap_servers"]):
        try:
            await _ask_metadata(options, host, port)
        except _FAILURES as error:
            reasons.append(_explain(error, str(options.get("sasl_mechanism", ""))))
    return next((reason for reason in reasons if isinstance(reason, Misconfigured)), next(filter(None, reasons), None))


def _explain(error: BaseException, mechanism: str) -> OnefoldError | None:
    if explanation := explain_refusal(error, "kafka"):
        return Misconfigured(f"Kafka: {explanation}")
    if isinstance(error, _REFUSED_LOGIN):
        return Misconfigured("Kafka refuses the user in ONEFOLD_KAFKA_USER or its ONEFOLD_KAFKA_PASSWORD: correct them")
    if isinstance(error, _UNKNOWN_MECHANISM):
        return Misconfigured("Kafka does not offer ONEFOLD_KAFKA_SASL_MECHANISM: choose a mechanism that its listener has")
    if isinstance(error, _WRONG_PROOF) and mechanism.startswith("SCRAM"):
        return Misconfigured(
            "the server at ONEFOLD_KAFKA_BOOTSTRAP could not prove that it knows ONEFOLD_KAFKA_PASSWORD: is it your broker?"
        )
    if isinstance(error, (kafka_errors.KafkaConnectionError, ConnectionResetError, ssl.SSLEOFError)):
        return Transient(
            "the server at ONEFOLD_KAFKA_BOOTSTRAP closes the connection: is it up, and is ONEFOLD_KAFKA_SECURITY_PROTOCOL "
            "that of its listener?"
        )
    return None
