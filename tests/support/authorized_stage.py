"""Every process of Onefold on a broker that checks rights, each as a user of its own with the rights of `schemas.kafka_access`.

The processes log in over TLS, with secrets from files. The broker notes every decision about a right, which the stage reads.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from embedded.child_process import ChildSpec
from embedded.kafka import Kafka
from embedded.kafka_access import client_variables
from embedded.roles import answers_ok
from runtime.bus.kafka_connection import client_options
from runtime.settings import Settings
from runtime.variables import read_settings
from schemas.kafka_access import ACCESS, OPERATOR, Right
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.services import KAFKA_PASSWORD, broker_in, broker_spec, running_service

ROLES: Final = tuple(access.role for access in ACCESS if access.role != OPERATOR)
TENANT_SECRET: Final = "a tenant secret of a test"
_RESOURCES: Final = {"topic": 2, "group": 3}
_OPERATIONS: Final = {
    "Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "DescribeConfigs": 10, "AlterConfigs": 11,
}  # fmt: skip
_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3
"""Kafka's numbers for the parts of a rule."""
_DECISION: Final = re.compile(
    r"Principal = User:(\S+) is (Allowed|Denied) operation = (\w+) from host = \S+ on resource = (\w+):LITERAL:(\S+)"
)
_AUDIT: Final = "logger.audit.name=kafka.authorizer.logger\nlogger.audit.level=debug\n"
_LOG4J: Final = Path("embedded/log4j2.properties")


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of the broker: whether a user may do something with a topic or a group."""

    user: str
    is_allowed: bool
    operation: str
    resource: str
    name: str


@dataclass
class AuthorizedStage:
    """The broker, the addresses of the other stores, and the processes that run."""

    broker: Kafka
    port: int
    ca_file: Path
    directory: Path
    stores: Mapping[str, str]
    environment: str
    collector_port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)

    def variables(self, user: str) -> dict[str, str]:
        """Return the variables with which a process logs in as this user."""
        directory = self.directory / user
        directory.mkdir(exist_ok=True)
        (directory / "password").write_text(f"password-of-{user}\n")
        (directory / "tenant").write_text(f"{TENANT_SECRET}\n")
        return {
            "ONEFOLD_KAFKA_BOOTSTRAP": f"127.0.0.1:{self.port}",
            "ONEFOLD_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "ONEFOLD_KAFKA_SASL_MECHANISM": "PLAIN",
            "ONEFOLD_KAFKA_USER": user,
            "ONEFOLD_KAFKA_PASSWORD_FILE": str(directory / "password"),
            "ONEFOLD_KAFKA_CA_FILE": str(self.ca_file),
            "ONEFOLD_TENANT_SECRET_FILE": str(directory / "tenant"),
            "ONEFOLD_ENVIRONMENT": self.environment,
            "ONEFOLD_DATA_DIR": str(directory),
            "ONEFOLD_COLLECTOR_PORT": str(self.collector_port),
            "ONEFOLD_API_PORT": str(self.api_port),
            "ONEFOLD_API_TOKENS_FILE": str(self.directory / "api-tokens.json"),
            **self.stores,
        }

    def settings(self, user: str) -> Settings:
        """Return settings that log in as this user."""
        variables = self.variables(user)
        password = Path(variables.pop("ONEFOLD_KAFKA_PASSWORD_FILE")).read_text().strip()
        del variables["ONEFOLD_TENANT_SECRET_FILE"]
        return read_settings({**variables, "ONEFOLD_KAFKA_PASSWORD": password, "ONEFOLD_TENANT_SECRET": TENANT_SECRET})

    def administrator(self) -> Settings:
        """Return settings of the user who may do everything."""
        login = client_variables(self.broker.port, KAFKA_PASSWORD)
        return read_settings(
            {**login, "ONEFOLD_ENVIRONMENT": self.environment, "ONEFOLD_TENANT_SECRET": TENANT_SECRET, **self.stores}
        )

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one `onefold` command as the operator."""
        return subprocess.run(
            [sys.executable, "-m", "ops.cli.main", *arguments],
            env={**os.environ, **self.variables(OPERATOR), "ONEFOLD_MODE": "server"},
            capture_output=True, text=True, check=False, timeout=240, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def decisions(self) -> set[Decision]:
        """Return what the broker has decided, of topics and groups."""
        log = "".join(path.read_text() for path in self.broker.layout.logs.glob("kafka.log*"))
        return {
            Decision(user, verdict == "Allowed", operation, resource, name)
            for user, verdict, operation, resource, name in _DECISION.findall(log)
        }

    async def grant(self, user: str, rights: list[Right]) -> None:
        """Give a user rights on the broker."""
        admin = AIOKafkaAdminClient(**client_options(self.administrator()))
        await admin.start()
        try:
            for right in rights:
                pattern = _PREFIXED if right.is_prefix else _LITERAL
                resource, operation = _RESOURCES[right.resource], _OPERATIONS[right.operation]
                request = CreateAclsRequest(resource, right.name, pattern, f"User:{user}", "*", operation, _ALLOW)
                answer = await admin._send_request(request)
                assert all(code == 0 for code, *_ in answer.creation_responses)
        finally:
            await admin.close()

    @contextmanager
    def running_roles(self) -> Iterator[None]:
        """Run every role, and go on when all of them are ready."""
        with ExitStack() as stack:
            for role in ROLES:
                stack.enter_context(running_service(self._role_spec(role)))
            yield

    def _role_spec(self, role: str) -> ChildSpec:
        port = free_port()
        return ChildSpec(
            role,
            [sys.executable, "-P", "-m", role],
            lambda: answers_ok(port, "/ready"),
            self.directory / f"{role}.log",
            env={**os.environ, **self.variables(role), "ONEFOLD_METRICS_PORT": str(port)},
            start_timeout_s=120,
        )


@contextmanager
def authorized_broker(directory: Path, stores: Mapping[str, str], environment: str, *users: str) -> Iterator[AuthorizedStage]:
    """Start a broker that knows every role, the operator and `users`, and forbids them all that nobody has granted."""
    authority, broker, port = Authority(directory), broker_in(directory / "kafka"), free_port()
    log4j = directory / "log4j2.properties"
    log4j.write_text(_LOG4J.read_text() + _AUDIT)
    logins = " ".join(f'user_{user}="password-of-{user}"' for user in (*ROLES, OPERATOR, *users))
    login_module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    own, added = f"CLIENTS://127.0.0.1:{broker.port}", f"ROLES://127.0.0.1:{port}"
    properties = {
        "listeners": f"{own},CONTROLLER://127.0.0.1:{broker.controller_port},{added}",
        "advertised.listeners": f"{own},{added}",
        "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT,ROLES:SASL_SSL",
        "listener.name.roles.ssl.keystore.type": "PEM",
        "listener.name.roles.ssl.keystore.location": str(authority.issue("server").bundle_file),
        "listener.name.roles.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.roles.plain.sasl.jaas.config": f"{login_module} required {logins};",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:onefold;User:controller",
    }
    with running_service(broker_spec(broker, properties, f"-Dlog4j2.configurationFile={log4j}")):
        yield AuthorizedStage(broker, port, authority.ca_file, directory, stores, environment)
