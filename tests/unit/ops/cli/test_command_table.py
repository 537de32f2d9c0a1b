"""The table of commands against the modules that it names, and what printing it imports."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

import ops.cli
from ops.cli.command_table import COMMANDS, load_command

ROOT = Path(__file__).parents[4]
NO_COMMANDS = {"command_table", "main", "options", "safe_console", "terminal", "progress", "bounds_table"}
NO_COMMANDS |= {"apply_answers", "identity_answers", "segment_answers"}
DRIVERS = {"aiohttp", "aiokafka", "chdb", "clickhouse_connect", "faust", "httpx", "redis", "uvicorn"}
SLOW_TOOLS = {"click", "pydantic", "rich", "structlog"}
PROCESSES = {"activation", "api", "collector", "consumers", "streams"}
LOWER_PACKAGES = {"demo", "domain", "embedded", "profile_store", "warehouse"}


def registered_names(module: str) -> set[str]:
    """Return the names that a module's `register` adds."""
    app = typer.Typer()
    app.callback()(lambda: None)
    importlib.import_module(module).register(app)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return set(group.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_listing_prints_the_first_line_of_each_commands_help(name: str) -> None:
    command = load_command(COMMANDS[name].module, name)
    assert inspect.cleandoc(command.help or "").splitlines()[0] == COMMANDS[name].summary


@pytest.mark.parametrize("module", sorted({entry.module for entry in COMMANDS.values()}))
def test_the_table_names_every_command_that_a_module_registers(module: str) -> None:
    assert registered_names(module) == {name for name, entry in COMMANDS.items() if entry.module == module}


def test_every_module_with_commands_is_in_the_table() -> None:
    modules = {module.name for module in pkgutil.iter_modules(ops.cli.__path__)} - NO_COMMANDS
    assert {f"ops.cli.{name}" for name in modules} | {"demo.command"} == {entry.module for entry in COMMANDS.values()}


def imported_packages(*arguments: str) -> tuple[set[str], str]:
    """Return the top packages that `onefold` with these arguments imports, and what it prints."""
    argv = [sys.executable, "-X", "importtime", "-m", "ops.cli.main", *arguments]
    completed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    modules = [line.rpartition("|")[2].strip() for line in completed.stderr.splitlines() if line.startswith("import time:")]
    return {module.partition(".")[0] for module in modules}, completed.stdout


def test_the_listing_imports_no_driver_and_no_command() -> None:
    packages, printed = imported_packages("--help")
    assert "typer" in packages
    assert packages & (DRIVERS | SLOW_TOOLS | PROCESSES | LOWER_PACKAGES) == set()
    assert all(f"\n  {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("name", ["down", "status"])
def test_commands_that_ask_the_control_socket_import_no_driver_and_no_settings(name: str) -> None:
    packages, _ = imported_packages(name, "--help")
    assert packages & (DRIVERS | {"pydantic_settings"}) == set()


def test_an_unknown_command_is_refused() -> None:
    argv = [sys.executable, "-m", "ops.cli.main", "nope"]
    completed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert completed.returncode == 2
    assert "No such command 'nope'" in completed.stderr
