"""ONEFOLD_* variables that are misspelled or cannot be read are errors that name them, and never their values."""

import pytest
import typer
from typer.core import TyperGroup

from ops.cli.command_table import COMMANDS, load_command
from runtime.errors import Misconfigured
from runtime.variables import check_environment, check_names, known_variables, read_settings


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ONEFOLD_PARTITION", "ONEFOLD_PARTITION is no variable of Onefold: did you mean ONEFOLD_PARTITIONS?"),
        ("ONEFOLD_ROLE", "did you mean ONEFOLD_ROLES?"),
        ("ONEFOLD_NONSENSE", "unset it; docs/configuration.md lists all"),
        ("ONEFOLD_TENANT_SECRETS", "did you mean ONEFOLD_TENANT_SECRET?"),
    ],
)
def test_an_unknown_variable_is_an_error(name: str, words: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        check_names({name: "tiếng Việt", "HOME": "/root"})
    assert words in str(caught.value)
    assert "tiếng" not in str(caught.value)


def test_names_of_secrets_that_definitions_choose_are_left_alone() -> None:
    check_names({"ONEFOLD_CRM_SECRET": "whsec_x", "ONEFOLD_ROLES": "", "ONEFOLD_DEMO_SEED": "1"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ONEFOLD_PARTITIONS", "four", "ONEFOLD_PARTITIONS: must be a whole number"),
        ("ONEFOLD_PARTITIONS", "0", "ONEFOLD_PARTITIONS: must be at least 1"),
        ("ONEFOLD_COLLECTOR_PORT", "http", "ONEFOLD_COLLECTOR_PORT: must be a whole number"),
        ("ONEFOLD_LOG_LEVEL", "loud", "ONEFOLD_LOG_LEVEL: must be debug, info, warning or error"),
        ("ONEFOLD_RECONCILE_AT", "25:00", "ONEFOLD_RECONCILE_AT: must fit the pattern"),
        ("ONEFOLD_MODE", "sever", "ONEFOLD_MODE: must be embedded or server"),
    ],
)
def test_a_value_that_cannot_be_read_is_an_error_in_our_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as caught:
        check_environment()
    assert words in str(caught.value)
    assert "Input" not in str(caught.value)


def test_given_variables_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEFOLD_PARTITIONS", "3")
    monkeypatch.setenv("ONEFOLD_API_PORT", "9000")
    settings = read_settings({"ONEFOLD_PARTITIONS": "5"})
    assert (settings.partitions, settings.api_port) == (5, 9000)


def test_every_variable_of_an_option_is_known() -> None:
    variables = set()
    for name, entry in COMMANDS.items():
        command = load_command(entry.module, name)
        for leaf in (*command.commands.values(), command) if isinstance(command, TyperGroup) else (command,):
            variables |= {option.envvar for option in leaf.params if isinstance(option, typer.core.TyperOption) and option.envvar}
    assert "ONEFOLD_DATA_DIR" in variables
    unknown = {str(name) for name in variables} - known_variables()
    assert all(name.startswith("ONEFOLD_DEMO_") for name in unknown)
