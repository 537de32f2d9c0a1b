"""The page on clients names those that a test runs, in the version that it runs, and no page promises more."""

import json
import re
from importlib.metadata import version

from tests.support.source_tree import ROOT

CLIENTS = ROOT / "tests" / "clients"
TOOLS = {"esbuild", "playwright-core"}
"""What bundles the shop's script and drives the browser."""
PYTHON = {"segment-analytics-python": "segment_python.py", "rudder-sdk-python": "rudder_python.py"}


def documented_versions() -> dict[str, str]:
    """Return the version of each client in the first table of the page."""
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:@[a-z-]+/)?[a-z-]+)(?:/bundled)? \| ([0-9.]+)", page, re.MULTILINE)
    return dict(rows)


def test_every_client_on_the_page_is_run_in_that_version() -> None:
    packages = json.loads((CLIENTS / "package.json").read_text(encoding="utf-8"))["dependencies"]
    tested = {name: number for name, number in packages.items() if name not in TOOLS} | {name: version(name) for name in PYTHON}
    assert documented_versions() == tested
    for script in PYTHON.values():
        assert (CLIENTS / script).is_file()


def test_no_page_promises_clients_that_nothing_runs() -> None:
    promise = re.compile(r"\b(?:any|every|all) (?:Segment |RudderStack )?SDKs?\b[^.|]*\bworks?\b", re.IGNORECASE)
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert promise.search(path.read_text(encoding="utf-8")) is None, path
