import json
import socket
from pathlib import Path

import pytest

from embedded import ports
from runtime.errors import Misconfigured
from tests.support.ports import free_port


def test_ports_are_free_all_different_and_outside_the_range_of_outgoing_connections(tmp_path: Path) -> None:
    taken = ports.allocate_ports(tmp_path / "ports.json", ["kafka", "redis", "api"])
    assert len(set(taken.values())) == 3
    assert all(18_000 <= port <= 32_000 for port in taken.values())


def test_ports_stay_over_a_restart(tmp_path: Path) -> None:
    first = ports.allocate_ports(tmp_path / "ports.json", ["kafka", "redis"])
    assert ports.allocate_ports(tmp_path / "ports.json", ["kafka", "redis"]) == first


def test_ports_of_names_not_asked_for_are_not_forgotten(tmp_path: Path) -> None:
    first = ports.allocate_ports(tmp_path / "ports.json", ["kafka", "redis"])
    ports.allocate_ports(tmp_path / "ports.json", ["redis"])
    assert ports.read_ports(tmp_path / "ports.json") == first


def test_a_remembered_port_in_use_is_replaced(tmp_path: Path) -> None:
    first = ports.allocate_ports(tmp_path / "ports.json", ["kafka"])
    with socket.socket() as other:
        other.bind(("127.0.0.1", first["kafka"]))
        other.listen()
        assert ports.allocate_ports(tmp_path / "ports.json", ["kafka"]) != first


def test_a_port_that_the_operator_fixed_is_taken(tmp_path: Path) -> None:
    fixed = free_port()
    assert ports.allocate_ports(tmp_path / "ports.json", ["api", "collector"], {"collector": fixed})["collector"] == fixed


def test_a_fixed_port_in_use_names_its_variable_and_the_cure(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Misconfigured, match=r"ONEFOLD_COLLECTOR_PORT\) is in use .* choose another port"):
            ports.allocate_ports(tmp_path / "ports.json", ["collector"], {"collector": other.getsockname()[1]})


@pytest.mark.parametrize("content", ["", "{torn", "[1]", json.dumps({"kafka": "x", "redis": 70_000, "api": -1})])
def test_an_unusable_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "ports.json").write_text(content)
    assert set(ports.allocate_ports(tmp_path / "ports.json", ["kafka", "redis", "api"])) == {"kafka", "redis", "api"}
