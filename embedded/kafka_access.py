"""Who may use the embedded broker: one user, by SASL; and how the broker's own listeners know each other.

Any user of the machine reaches a loopback port, so every listener asks for a password, the controller's too. Clients log in by
SCRAM, in which the password itself is never sent and the server proves that it knows it. A program of somebody else that takes the
port while the broker is down is refused, and learns nothing.

SCRAM's credentials are part of Kafka's own metadata, written when its directory is formatted. The controller cannot read them
before it runs, so its listener knows a password of its own, a new one for every start: broker and controller are one process.
"""

import secrets
from pathlib import Path
from typing import Final

from embedded.layout import Layout

USER: Final = "onefold"
PROTOCOL: Final = "SASL_PLAINTEXT"
MECHANISM: Final = "SCRAM-SHA-256"
_JAVA_LOGIN: Final = "org.apache.kafka.common.security"


def client_variables(port: int, password: str) -> dict[str, str]:
    """Return the ONEFOLD_* variables with which a process reaches the broker."""
    return {
        "ONEFOLD_KAFKA_BOOTSTRAP": f"127.0.0.1:{port}",
        "ONEFOLD_KAFKA_SECURITY_PROTOCOL": PROTOCOL,
        "ONEFOLD_KAFKA_SASL_MECHANISM": MECHANISM,
        "ONEFOLD_KAFKA_USER": USER,
        "ONEFOLD_KAFKA_PASSWORD": password,
        **dict.fromkeys(("ONEFOLD_KAFKA_CA_FILE", "ONEFOLD_KAFKA_CERTIFICATE_FILE", "ONEFOLD_KAFKA_KEY_FILE"), ""),
    }


def client_properties_file(layout: Layout) -> Path:
    """Return the file with which Kafka's own tools reach the broker, readable by its owner alone."""
    return layout.run / "kafka-client.properties"


def client_properties(port: int, password: str) -> str:
    """Return the properties file with which Kafka's own tools reach the broker."""
    return (
        f"bootstrap.servers=127.0.0.1:{port}\n"
        f"security.protocol={PROTOCOL}\n"
        f"sasl.mechanism={MECHANISM}\n"
        f"sasl.jaas.config={_scram_login(password)}\n"
    )


def listener_properties(password: str) -> str:
    """Return the lines of server.properties that let nobody in without a password."""
    controller_password = secrets.token_urlsafe(24)
    controller_login = (
        f'{_JAVA_LOGIN}.plain.PlainLoginModule required username="controller" password="{controller_password}" '
        f'user_controller="{controller_password}";'
    )
    return (
        f"listener.security.protocol.map=CLIENTS:{PROTOCOL},CONTROLLER:SASL_PLAINTEXT\n"
        "inter.broker.listener.name=CLIENTS\n"
        f"sasl.enabled.mechanisms={MECHANISM}\n"
        f"sasl.mechanism.inter.broker.protocol={MECHANISM}\n"
        f"listener.name.clients.{MECHANISM.lower()}.sasl.jaas.config={_scram_login(password)}\n"
        "sasl.mechanism.controller.protocol=PLAIN\n"
        "listener.name.controller.sasl.enabled.mechanisms=PLAIN\n"
        f"listener.name.controller.plain.sasl.jaas.config={controller_login}\n"
    )


def scram_credentials(password: str) -> str:
    """Return the argument with which formatting makes the user."""
    return f"{MECHANISM}=[name={USER},password={password}]"


def _scram_login(password: str) -> str:
    return f'{_JAVA_LOGIN}.scram.ScramLoginModule required username="{USER}" password="{password}";'
