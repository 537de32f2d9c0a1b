"""One collector process for all clients; each test has its own proxy in front of it, and ids that no other test uses."""

import asyncio
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.install import chromium, installed
from tests.support.client_story import ClientTrial, end_offsets, story
from tests.support.collector_harness import KEY, source
from tests.support.collector_process import CollectorProcess, collector_process
from tests.support.recording_proxy import RecordingProxy, recording_proxy

ANALYTICS_JS = "node_modules/@segment/analytics-next/dist/umd"


@pytest.fixture(scope="session")
def shared_collector(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorProcess]:
    """Start a collector that all tests share and yield it when it is ready.

    A test marks the end of the log before it sends, and reads from there.
    """
    packages = installed()
    environ = {} if packages is None else {"ONEFOLD_COLLECTOR_ANALYTICS_JS_DIR": str(packages / ANALYTICS_JS)}
    with collector_process(kafka, tmp_path_factory.mktemp("clients"), source("default", KEY), environ=environ) as process:
        yield process


@pytest.fixture
def proxy(shared_collector: CollectorProcess) -> Iterator[RecordingProxy]:
    """Yield a recording proxy in front of the shared collector."""
    with recording_proxy(shared_collector.settings.collector_port) as keeper:
        yield keeper


@pytest.fixture
def trial(shared_collector: CollectorProcess, proxy: RecordingProxy) -> ClientTrial:
    """Return a trial whose customers occur in no other test."""
    then = asyncio.run(end_offsets(shared_collector.settings))
    return ClientTrial(shared_collector.settings, proxy, story(uuid.uuid4().hex[:8]), then)


@pytest.fixture
def packages() -> Path:
    """Return the directory of the clients in Node.

    The test is skipped when they are not installed, but fails where they are required.
    """
    found = installed()
    if found is None or shutil.which("node") is None:
        if os.environ.get("ONEFOLD_CLIENTS") == "required":
            pytest.fail("the clients in Node are not installed: `make clients` says why")
        pytest.skip("the clients in Node are not installed: run `make clients` (needs node and npm)")
    return found


@pytest.fixture
def browser(packages: Path) -> str:  # noqa: ARG001 - what drives it is among them
    """Return the path of Chromium's command."""
    found = chromium()
    if found is None:
        if os.environ.get("ONEFOLD_CLIENTS") == "required":
            pytest.fail("Chromium is not on PATH")
        pytest.skip("Chromium is not on PATH: install it (package chromium)")
    return found
