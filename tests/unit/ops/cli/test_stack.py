"""What `onefold status` prints, for a shell and for a person."""

import subprocess
from pathlib import Path

import pytest

from embedded.layout import Layout
from ops.cli.stack import export_lines, print_status

STATE = {
    "addresses": {"collector": "http://127.0.0.1:1234", "clickhouse": "http://analyst:a'b$(c)@127.0.0.1:8123"},
    "write_keys": {"default": "key with space", "server": "another key"},
    "api_token": "token",
    "kafka_login": {"user": "onefold", "password": "p", "properties_file": "/d/run/kafka-client.properties"},
    "redis_login": {"socket": "/d/run/redis.sock", "password": "q"},
}


def test_a_shell_reads_the_lines_back_as_they_are() -> None:
    logins = ("KAFKA_USER", "KAFKA_PASSWORD", "REDIS_SOCKET", "REDISCLI_AUTH")
    names = ("COLLECTOR", "CLICKHOUSE", "WRITE_KEY", "SERVER_WRITE_KEY", "API_TOKEN", *logins)
    arguments = " ".join(f'"${name}"' for name in names)
    script = "\n".join(export_lines(STATE)) + f'\nprintf "%s\\n" {arguments}\n'
    printed = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == [
        "http://127.0.0.1:1234",
        "http://analyst:a'b$(c)@127.0.0.1:8123",
        "key with space",
        "another key",
        "token",
        "onefold",
        "p",
        "/d/run/redis.sock",
        "q",
    ]


@pytest.mark.parametrize("rules_round", [None, {"resolved": 1_200, "nodes": 98_000}])
def test_a_change_of_the_identity_rules_is_shown_while_it_is_under_way(
    rules_round: dict[str, int] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_status({**STATE, "ready": True, "roles": [], "waits": [], "identity_rules": rules_round}, Layout.of(tmp_path))
    printed = capsys.readouterr().out
    assert ("1,200 of 98,000 identifiers follow them" in printed) == (rules_round is not None)


@pytest.mark.parametrize("shows_keys", [True, False])
def test_write_keys_are_shown_to_people_and_not_to_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shows_keys: bool
) -> None:
    print_status({**STATE, "ready": True, "roles": [], "waits": []}, Layout.of(tmp_path), shows_keys=shows_keys)
    printed = capsys.readouterr().out
    assert ("another key" in printed) is shows_keys
    assert ("onefold status" in printed) is not shows_keys
