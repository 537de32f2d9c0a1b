"""The roles of Onefold that the embedded stack runs, and the environment that tells them where everything is."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote

from embedded import analytics_js, kafka_access, redis
from embedded.child_process import LIVENESS_TIMEOUT_S, ChildSpec
from embedded.layout import Layout
from embedded.secrets import ANALYST_USER, APP_USER, Secrets
from runtime.errors import Misconfigured

PORT_NAMES = ("kafka", "controller", "redis", "clickhouse", "collector", "api")

_NOT_EMBEDDED = (
    "REDIS_USER", "REDIS_PASSWORD", "REDIS_CA_FILE", "REDIS_CERTIFICATE_FILE", "REDIS_KEY_FILE",
    "CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_CA_FILE",
)  # fmt: skip
"""Settings of other stacks' connections, which this one does not use."""


@dataclass(frozen=True, slots=True)
class Role:
    """A process of Onefold: `python -m module args`, ready when its health endpoint says so."""

    name: str
    module: str
    args: tuple[str, ...] = ()

    @property
    def port_name(self) -> str:
        return f"metrics.{self.name}"


ROLES = (
    Role("collector", "collector"),
    Role("streams", "streams"),
    Role("consumers", "consumers"),
    Role("activation", "activation"),
    Role("api", "api"),
)


def selected_roles(environ: Mapping[str, str] = os.environ, roles: Sequence[Role] = ROLES) -> tuple[Role, ...]:
    """Return the roles that ONEFOLD_ROLES names, comma separated; all if it is unset. Raises Misconfigured for an unknown one."""
    configured = environ.get("ONEFOLD_ROLES")
    if configured is None:
        return tuple(roles)
    names = {name.strip() for name in configured.split(",") if name.strip()}
    if unknown := names - {role.name for role in roles}:
        role_names = ", ".join(role.name for role in roles)
        raise Misconfigured(f"ONEFOLD_ROLES names {', '.join(sorted(unknown))}, which is no role: choose among {role_names}")
    return tuple(role for role in roles if role.name in names)


def environment(layout: Layout, ports: Mapping[str, int], secrets: Secrets) -> dict[str, str]:
    """Return the ONEFOLD_* variables with which a process of this user reaches the stack in `layout`.

    They also unset what a shell may hold for another Onefold: an empty variable counts as none.
    """
    from runtime.variables import secret_variables  # with the settings, which `onefold status` does not need

    analytics_js_dir = analytics_js.find_installed()
    return {
        **({} if analytics_js_dir is None else {"ONEFOLD_COLLECTOR_ANALYTICS_JS_DIR": str(analytics_js_dir)}),
        **{f"{name}_FILE": "" for name in secret_variables()},
        **{f"ONEFOLD_{name}": "" for name in _NOT_EMBEDDED},
        "ONEFOLD_MODE": "embedded",
        "ONEFOLD_DATA_DIR": str(layout.root),
        **kafka_access.client_variables(ports["kafka"], secrets.kafka_password),
        "ONEFOLD_REDIS_URL": redis.url(layout, secrets.redis_password),
        "ONEFOLD_CLICKHOUSE_URL": f"http://{APP_USER}:{secrets.clickhouse_app}@127.0.0.1:{ports['clickhouse']}",
        "ONEFOLD_TENANT_SECRET": secrets.tenant_secret,
        "ONEFOLD_API_TOKENS_FILE": str(layout.api_tokens),
        "ONEFOLD_COLLECTOR_PORT": str(ports["collector"]),
        "ONEFOLD_API_PORT": str(ports["api"]),
    }


def addresses(ports: Mapping[str, int], secrets: Secrets) -> dict[str, str]:
    """Return the addresses for people and their tools; that of ClickHouse is for the reading user `analyst`."""
    return {
        "collector": f"http://127.0.0.1:{ports['collector']}",
        "api": f"http://127.0.0.1:{ports['api']}",
        "clickhouse": f"http://{ANALYST_USER}:{secrets.clickhouse_analyst}@127.0.0.1:{ports['clickhouse']}",
        "kafka": f"127.0.0.1:{ports['kafka']}",
        "redis": redis.address(ports["redis"], secrets.redis_password),
    }


def kafka_login(layout: Layout, secrets: Secrets) -> dict[str, str]:
    """Return what a client of Kafka needs beside the address; Kafka's own tools need the file alone."""
    return {
        "security_protocol": kafka_access.PROTOCOL,
        "sasl_mechanism": kafka_access.MECHANISM,
        "user": kafka_access.USER,
        "password": secrets.kafka_password,
        "properties_file": str(kafka_access.client_properties_file(layout)),
    }


def role_spec(role: Role, layout: Layout, ports: Mapping[str, int], variables: Mapping[str, str]) -> ChildSpec:
    """Return the child process of `role`. It inherits this process's environment, which `variables` override."""
    port = ports[role.port_name]
    return ChildSpec(
        name=role.name,
        # -P: a directory named like one of our packages where the command was given must not take its place
        argv=[sys.executable, "-P", "-m", role.module, *role.args],
        is_ready=lambda: answers_ok(port, "/ready"),
        # Not /ready: a process that waits for a store is healthy, and a new one would wait as well.
        is_alive=lambda: answers_ok(port, "/live", LIVENESS_TIMEOUT_S),
        log=layout.logs / f"{role.name}.log",
        env={**os.environ, **variables, "ONEFOLD_METRICS_PORT": str(port), "PYTHONUNBUFFERED": "1"},
    )


def read_waits(port: int, timeout_s: float = 5.0) -> list[str]:
    """Return what the process with this metrics port says that it waits for; nothing when it does not answer."""
    body = _get(port, "/ready", timeout_s)[1]
    try:
        waits = json.loads(body).get("waits", [])
    except (ValueError, AttributeError):
        return []
    return [str(sentence) for sentence in waits]


def refuses_key(port: int, write_key: str) -> bool:
    """Return whether the collector on this port answers, and knows no source with this write key."""
    return _get(port, f"/v1/projects/{quote(write_key, safe='')}/settings", 5.0)[0] in (401, 404)


def _get(port: int, path: str, timeout_s: float) -> tuple[int, bytes]:
    """Return status and body of a GET on this loopback port; (0, b"") when nothing answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()


def answers_ok(port: int, path: str, timeout_s: float = 2.0) -> bool:
    """Return whether GET `path` on this loopback port answers 200."""
    return _get(port, path, timeout_s)[0] == 200
