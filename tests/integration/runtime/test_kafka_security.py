"""Passwords and TLS on a real broker: what fits gets in, and what does not gets an error that names the setting."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.bus.kafka import KafkaBus
from runtime.bus.port import Outgoing
from runtime.errors import Misconfigured, OnefoldError, Transient
from runtime.settings import Settings
from tests.support.secure_kafka import PASSWORD, SecureKafka, secure_kafka_running

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """Start the broker once for all tests of this file."""
    with secure_kafka_running(tmp_path_factory.mktemp("secure")) as running:
        yield running


async def write_and_read(settings: Settings) -> list[bytes | None]:
    """Create a topic, write a record as a producer, and read it as a member of a group."""
    topic = f"t{uuid.uuid4().hex[:12]}"
    async with KafkaBus(settings) as bus:
        await bus.create_topics({topic: (1, {})})
        producer = await bus.producer()
        await producer.send([Outgoing(topic, "Nguyễn Thị Lan".encode())])
        await producer.aclose()
        consumer = await bus.consumer(f"{topic}-group", [topic])
        values: list[bytes | None] = []
        while not values:
            values = [record.value for records in (await consumer.poll(1_000, 10)).values() for record in records]
        await consumer.aclose()
    return values


@pytest.mark.parametrize(
    ("listener", "changes"),
    [
        ("sasltls", {"kafka_sasl_mechanism": "SCRAM-SHA-512"}),
        ("sasltls", {"kafka_sasl_mechanism": "PLAIN"}),
        ("tls", {}),
    ],
)
async def test_what_fits_the_listener_gets_in(broker: SecureKafka, listener: str, changes: dict[str, Any]) -> None:
    assert await write_and_read(broker.settings(listener, **changes)) == ["Nguyễn Thị Lan".encode()]


async def test_a_certificate_and_its_key_may_share_a_file(broker: SecureKafka) -> None:
    settings = broker.settings("tls", kafka_certificate_file=broker.client.bundle_file, kafka_key_file=None)
    async with KafkaBus(settings) as bus:
        await bus.ping()


async def refusal(settings: Settings) -> OnefoldError:
    """Return the error of a first contact; a producer gets the same one as a request."""
    errors = []
    async with KafkaBus(settings, timeout_ms=8_000) as bus:
        for contact in (bus.ping, bus.producer):
            with pytest.raises(OnefoldError) as caught:
                await contact()
            errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    assert str(errors[0]) == str(errors[1])
    assert PASSWORD not in str(errors[0])
    return errors[0]


@pytest.mark.parametrize(
    ("listener", "changes", "words"),
    [
        ("sasltls", {"kafka_password": "another password"}, "ONEFOLD_KAFKA_USER or its ONEFOLD_KAFKA_PASSWORD"),
        (
            "sasltls",
            {"kafka_sasl_mechanism": "PLAIN", "kafka_password": "another password"},
            "ONEFOLD_KAFKA_USER or its ONEFOLD_KAFKA_PASSWORD",
        ),
        ("sasltls", {"kafka_user": "nobody"}, "ONEFOLD_KAFKA_USER or its ONEFOLD_KAFKA_PASSWORD"),
        ("sasltls", {"kafka_sasl_mechanism": "SCRAM-SHA-256"}, "does not offer ONEFOLD_KAFKA_SASL_MECHANISM"),
        ("sasltls", {"kafka_ca_file": None}, "not signed by an authority in ONEFOLD_KAFKA_CA_FILE"),
        ("expired", {}, "the certificate of the server at ONEFOLD_KAFKA_BOOTSTRAP has expired"),
        ("sasltls", {"host": "localhost"}, "is not for the host in ONEFOLD_KAFKA_BOOTSTRAP"),
        (
            "tls",
            {"kafka_certificate_file": None, "kafka_key_file": None},
            "refuses the certificate in ONEFOLD_KAFKA_CERTIFICATE_FILE, or asks",
        ),
    ],
)
async def test_what_does_not_fit_is_an_error_that_names_the_setting(
    broker: SecureKafka, listener: str, changes: dict[str, Any], words: str
) -> None:
    error = await refusal(broker.settings(listener, **changes))
    assert isinstance(error, Misconfigured)
    assert words in str(error)


async def test_another_authority_is_not_believed(broker: SecureKafka) -> None:
    error = await refusal(broker.settings("sasltls", kafka_ca_file=broker.stranger.ca_file))
    assert isinstance(error, Misconfigured)
    assert "not signed by an authority in ONEFOLD_KAFKA_CA_FILE" in str(error)


async def test_a_certificate_of_another_authority_is_refused(broker: SecureKafka) -> None:
    other = broker.stranger.issue("other")
    error = await refusal(broker.settings("tls", kafka_certificate_file=other.certificate_file, kafka_key_file=other.key_file))
    assert isinstance(error, Misconfigured)
    assert "refuses the certificate in ONEFOLD_KAFKA_CERTIFICATE_FILE" in str(error)


@pytest.mark.parametrize(("listener", "protocol"), [("sasltls", "PLAINTEXT"), ("clients", "PLAINTEXT"), ("plain", "SSL")])
async def test_another_protocol_than_the_listeners_is_told_to_look_at_it(broker: SecureKafka, listener: str, protocol: str) -> None:
    """The broker closes the connection, as one that stops does: so it may pass by itself."""
    settings = Settings.model_validate({
        "kafka_bootstrap": f"127.0.0.1:{broker.ports[listener]}", "kafka_security_protocol": protocol,
    })  # fmt: skip
    error = await refusal(settings)
    assert isinstance(error, Transient)
    assert "is ONEFOLD_KAFKA_SECURITY_PROTOCOL that of its listener?" in str(error)
