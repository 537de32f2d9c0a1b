"""docker-compose.yml fits its schema, and gives every service what it needs and no more."""

import json
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import jsonschema
import yaml

from embedded.clickhouse.configuration import QUERY_LOG_DAYS
from runtime.variables import known_variables
from tests.support.source_tree import ROOT

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
STORES: Final = ("kafka", "redis", "clickhouse")
READ_BY_STORES: Final = {"kafka_jaas.conf", "redis_users.acl", "clickhouse_users.xml"}


def secret_names(service: dict[str, Any]) -> set[str]:
    return {entry if isinstance(entry, str) else entry["source"] for entry in service.get("secrets", [])}


def test_compose_file_fits_its_schema() -> None:
    path = distribution("check-jsonschema").locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    jsonschema.validate(COMPOSE, json.loads(Path(str(path)).read_text()))


def test_compose_sets_only_variables_that_exist() -> None:
    for service in SERVICES.values():
        assert {name for name in service.get("environment", {}) if name.startswith("ONEFOLD_")} <= known_variables()


def test_compose_pins_every_image_and_checks_every_store() -> None:
    for name in STORES:
        assert re.search(r":\d+\.\d+", SERVICES[name]["image"])
        assert "healthcheck" in SERVICES[name]
        assert "volumes" in SERVICES[name]


def test_compose_runs_every_role() -> None:
    assert {"collector", "streams", "consumers", "activation", "api"} <= SERVICES.keys()


def test_compose_holds_no_secret_and_gives_each_service_its_own() -> None:
    mounted = {name: secret_names(service) for name, service in SERVICES.items()}
    assert set.union(*mounted.values()) == COMPOSE["secrets"].keys()
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        named = {Path(value).name for variable, value in environment.items() if variable.endswith("_FILE")}
        assert named <= mounted[name], name
        assert mounted[name] - named <= READ_BY_STORES, name
        assert [variable for variable in environment if variable.endswith(("_PASSWORD", "_SECRET", "_TOKEN", "_KEY"))] == []


def test_statements_stay_in_the_logs_of_clickhouse_for_the_same_time_as_in_the_embedded_engine() -> None:
    mounted = {entry["source"] for entry in SERVICES["clickhouse"]["configs"]}
    logs = ET.parse(ROOT / COMPOSE["configs"]["clickhouse_logs"]["file"]).getroot()  # noqa: S314 - our own file
    assert mounted == {"clickhouse_logs"}
    assert logs.findtext("query_log/ttl") == f"event_date + INTERVAL {QUERY_LOG_DAYS} DAY DELETE"
    kept = {item.tag for item in logs if item.tag.endswith("_log") and item.get("remove") is None}
    assert kept == {"query_log"}


def test_compose_publishes_on_loopback_alone_and_keeps_the_stores_on_a_network_of_their_own() -> None:
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    for name, service in SERVICES.items():
        assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == [], name
        assert "stores" in service["networks"], name


def test_compose_lets_no_process_gain_rights_and_none_of_ours_write_to_its_image() -> None:
    for name, service in SERVICES.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name not in STORES:
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
