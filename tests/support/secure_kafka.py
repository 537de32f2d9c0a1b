"""A real broker whose listeners ask for passwords and speak TLS, each in another way."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from embedded.kafka import Kafka
from embedded.kafka_access import client_properties_file
from runtime.settings import Settings
from tests.support.certificates import Authority, Certificate
from tests.support.ports import free_port
from tests.support.services import broker_in, broker_spec, running_service

USER: Final = "lan"
PASSWORD: Final = "password-of-lan"
_LOGIN: Final = "org.apache.kafka.common.security"
LISTENERS: Final = {"sasltls": "SASL_SSL", "tls": "SSL", "expired": "SSL", "plain": "PLAINTEXT"}
"""The listeners beside those that `onefold up` has."""


@dataclass(frozen=True)
class SecureKafka:
    """The broker: its authority, another one that it does not know, a client's certificate, and a port for each listener."""

    authority: Authority
    stranger: Authority
    client: Certificate
    ports: Mapping[str, int]

    def settings(self, listener: str, host: str = "127.0.0.1", **changes: Any) -> Settings:
        """Return settings that fit the listener, with these changes."""
        return Settings.model_validate({
            "kafka_bootstrap": f"{host}:{self.ports[listener]}", **self._fitting(listener), **changes,
        })  # fmt: skip

    def _fitting(self, listener: str) -> dict[str, Any]:
        login = {"kafka_sasl_mechanism": "SCRAM-SHA-512", "kafka_user": USER, "kafka_password": PASSWORD}
        tls = {"kafka_ca_file": self.authority.ca_file}
        own = {"kafka_certificate_file": self.client.certificate_file, "kafka_key_file": self.client.key_file}
        fitting: dict[str, Any] = {"sasltls": login | tls, "tls": tls | own, "expired": tls, "plain": {}}
        return {"kafka_security_protocol": LISTENERS[listener], **fitting[listener]}


@contextmanager
def secure_kafka_running(directory: Path) -> Iterator[SecureKafka]:
    """Start the broker, give it a user with SCRAM by Kafka's own tool, and stop it at the end."""
    authority, stranger = Authority(directory, "authority"), Authority(directory, "stranger")
    ports = {name: free_port() for name in LISTENERS}
    broker = broker_in(directory / "kafka")
    with running_service(broker_spec(broker, _properties(broker, ports, authority))):
        add_scram_user(broker)
        yield SecureKafka(authority, stranger, authority.issue("client"), {**ports, "clients": broker.port})


def _properties(broker: Kafka, ports: Mapping[str, int], authority: Authority) -> dict[str, str]:
    """Return the properties of the further listeners; those of `onefold up` stay as they are."""
    own = f"CLIENTS://127.0.0.1:{broker.port}"
    added = ",".join(f"{name.upper()}://127.0.0.1:{port}" for name, port in ports.items())
    protocols = ",".join(f"{name.upper()}:{protocol}" for name, protocol in LISTENERS.items())
    server, expired = authority.issue("server"), authority.issue("expired", expired=True)
    return {
        "listeners": f"{own},CONTROLLER://127.0.0.1:{broker.controller_port},{added}",
        "advertised.listeners": f"{own},{added}",
        "listener.security.protocol.map": f"CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT,{protocols}",
        **{
            f"listener.name.{name}.ssl.keystore.{setting}": value
            for name, certificate in (("sasltls", server), ("tls", server), ("expired", expired))
            for setting, value in (("type", "PEM"), ("location", str(certificate.bundle_file)))
        },
        "listener.name.tls.ssl.client.auth": "required",
        "listener.name.tls.ssl.truststore.type": "PEM",
        "listener.name.tls.ssl.truststore.location": str(authority.ca_file),
        "listener.name.sasltls.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.sasltls.plain.sasl.jaas.config": f'{_LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
        "listener.name.sasltls.scram-sha-512.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
    }


def add_scram_user(broker: Kafka) -> None:
    """Give a user a password by Kafka's own tool. It logs in with the file that `onefold up` writes for such tools."""
    tool = [
        "kafka.admin.ConfigCommand", "--bootstrap-server", f"127.0.0.1:{broker.port}",
        "--command-config", str(client_properties_file(broker.layout)),
        "--alter", "--entity-type", "users", "--entity-name", USER, "--add-config", f"SCRAM-SHA-512=[password={PASSWORD}]",
    ]  # fmt: skip
    subprocess.run([*broker.jvm(), *tool], capture_output=True, check=True, env=broker.env())
