"""Settings of connections that do not fit together are errors, and so is a secret's file that cannot be read."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from runtime.errors import Misconfigured
from runtime.variables import check_names, known_variables, read_settings, secret_variables


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "=SASL_SSL needs ONEFOLD_KAFKA_USER and ONEFOLD_KAFKA_PASSWORD: set both"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_USER": "u", "KAFKA_PASSWORD": ""}, "set both"),
        ({"KAFKA_USER": "u", "KAFKA_PASSWORD": "hush"}, "of no use with ONEFOLD_KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_PASSWORD": "hush"}, "of no use with ONEFOLD_KAFKA_SECURITY_PROTOCOL=SSL"),
        (
            {"KAFKA_CA_FILE": "/ca.pem"},
            "ONEFOLD_KAFKA_CA_FILE is of no use without TLS: it needs ONEFOLD_KAFKA_SECURITY_PROTOCOL=SSL",
        ),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_KEY_FILE": "/k"}, "ONEFOLD_KAFKA_KEY_FILE needs ONEFOLD_KAFKA_CERTIFICATE_FILE"),
        ({"REDIS_CA_FILE": "/ca.pem"}, "ONEFOLD_REDIS_CA_FILE is of no use without TLS: it needs an address in ONEFOLD_REDIS_URL"),
        ({"REDIS_USER": "u"}, "ONEFOLD_REDIS_USER needs ONEFOLD_REDIS_PASSWORD"),
        ({"REDIS_URL": "redis://:hush@h", "REDIS_PASSWORD": "x"}, "ONEFOLD_REDIS_URL holds a user or password, and"),
        ({"CLICKHOUSE_CA_FILE": "/ca.pem"}, "it needs an address in ONEFOLD_CLICKHOUSE_URL that begins with https"),
        ({"CLICKHOUSE_URL": "http://u:hush@h", "CLICKHOUSE_USER": "u", "CLICKHOUSE_PASSWORD": "x"}, "leave out one of them"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "ONEFOLD_KAFKA_SECURITY_PROTOCOL: must be PLAINTEXT, SASL_PLAINTEXT, SSL or SASL_SSL"),
    ],
)
def test_settings_that_do_not_fit_together_are_named(variables: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_settings({f"ONEFOLD_{name}": value for name, value in variables.items()})
    assert words in str(caught.value)
    assert "hush" not in str(caught.value)


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEFOLD_KAFKA_CA_FILE", "")
    monkeypatch.setenv("ONEFOLD_REDIS_PASSWORD", "")
    settings = read_settings({"ONEFOLD_CLICKHOUSE_USER": ""})
    assert (settings.kafka_ca_file, settings.redis_password, settings.clickhouse_user) == (None, None, None)


@pytest.mark.parametrize("name", ["ONEFOLD_TENANT_SECRET", "ONEFOLD_REDIS_PASSWORD", "ONEFOLD_CLICKHOUSE_URL"])
def test_every_secret_may_come_from_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("http://người:bí mật@h\n", encoding="utf-8")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    value = getattr(read_settings(), name.removeprefix("ONEFOLD_").lower())
    assert isinstance(value, SecretStr)
    assert value.get_secret_value() == "http://người:bí mật@h"


def test_all_settings_with_secrets_have_the_variable_of_a_file() -> None:
    expected = {
        "TENANT_SECRET",
        "KAFKA_PASSWORD",
        "REDIS_URL",
        "REDIS_PASSWORD",
        "CLICKHOUSE_URL",
        "CLICKHOUSE_PASSWORD",
    }
    assert {name.removeprefix("ONEFOLD_") for name in secret_variables()} >= expected
    assert {f"{name}_FILE" for name in secret_variables()} <= known_variables()
    check_names({f"{name}_FILE": "/run/secrets/x" for name in secret_variables()})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"ONEFOLD_REDIS_PASSWORD_FILE: the file cannot be read \(No such file or directory\)"),
        (b"", "ONEFOLD_REDIS_PASSWORD_FILE: the file is empty"),
        (b"\n", "ONEFOLD_REDIS_PASSWORD_FILE: the file is empty"),
        (b"\xff\xfe", r"ONEFOLD_REDIS_PASSWORD_FILE: the file cannot be read \(it is no text in UTF-8\)"),
        (b"x" * 70_000, "or larger than 64 KiB"),
    ],
)
def test_a_file_without_a_secret_is_an_error(
    content: bytes | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("ONEFOLD_REDIS_PASSWORD_FILE", str(path))
    with pytest.raises(Misconfigured, match=words):
        read_settings()


def test_a_secret_and_its_file_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEFOLD_REDIS_PASSWORD", "hush")
    monkeypatch.setenv("ONEFOLD_REDIS_PASSWORD_FILE", str(tmp_path / "secret"))
    with pytest.raises(Misconfigured, match="ONEFOLD_REDIS_PASSWORD and ONEFOLD_REDIS_PASSWORD_FILE are both set"):
        read_settings()
