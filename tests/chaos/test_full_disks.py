"""The disk of one store fills while events come: nothing that was acknowledged is lost once there is space again."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.embedded_stack import OnefoldProcess
from tests.support.polling import eventually
from tests.support.shipped_command import Onefold
from tests.support.small_disk import small_disk

pytestmark = [
    pytest.mark.stack,
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif("ONEFOLD_CHAOS_ROUNDS" not in os.environ, reason="`make chaos` fills disks for minutes"),
]
MEGABYTES = {"clickhouse": 160, "redis": 48, "kafka": 96}
WITHIN_S = 240
EVENT = "Đơn hàng khi đĩa đầy"


class Load:
    """One client that sends batches of 20 events until it is stopped. `acknowledged`: the message ids of answers with 200."""

    def __init__(self, address: str, key: str) -> None:
        self._url, self._key, self._stop = f"{address}/v1/batch", key, threading.Event()
        self.acknowledged: set[str] = set()
        self.attempts = 0

    def send_until_stopped(self) -> None:
        with httpx.Client(timeout=10, auth=(self._key, "")) as client:
            while not self._stop.is_set():
                ids = [f"đầy-{self.attempts}-{number}" for number in range(20)]
                self.attempts += 1
                body = {"batch": [_call(message) for message in ids]}
                try:
                    is_acknowledged = client.post(self._url, json=body).status_code == 200
                except httpx.TransportError:
                    is_acknowledged = False
                if is_acknowledged:
                    self.acknowledged |= set(ids)
                else:
                    self._stop.wait(0.1)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.send_until_stopped)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


def _call(message: str) -> dict[str, Any]:
    customer = f"khách-{hash(message) % 50}"
    return {"type": "track", "messageId": message, "userId": customer, "event": EVENT, "properties": {"note": "ghi chú " * 20}}


@pytest.mark.parametrize("store", MEGABYTES)
def test_nothing_acknowledged_is_lost_when_a_disk_fills(tmp_path: Path, store: str) -> None:
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    # The collector's own guard watches the disk of the data directory: here it must not help.
    stack = OnefoldProcess(directory, env={"ONEFOLD_MIN_FREE_BYTES": "0"})
    with small_disk(directory / store, MEGABYTES[store]) as disk, stack:
        status = stack.status()
        load = Load(status["addresses"]["collector"], status["write_keys"]["default"])
        with load.running():
            eventually(lambda: len(load.acknowledged), lambda count: count >= 400, WITHIN_S)
            disk.fill()
            eventually(lambda: stack.status()["ready"], lambda is_ready: not is_ready, WITHIN_S)
            attempts = load.attempts
            eventually(lambda: load.attempts, lambda count: count >= attempts + 40, WITHIN_S)
            disk.fill()
            disk.free()
            eventually(lambda: stack.status()["ready"], bool, WITHIN_S)
            acknowledged = len(load.acknowledged)
            eventually(lambda: len(load.acknowledged), lambda count: count >= acknowledged + 200, WITHIN_S)
        onefold = Onefold(directory)
        account = onefold.wait_until_settled(len(load.acknowledged), WITHIN_S)
        stored = {row[0] for row in onefold.rows(f"SELECT id FROM events_now WHERE name = '{EVENT}'")}  # noqa: S608 - a constant
        assert load.acknowledged - stored == set()
        assert account["balanced"]
        assert onefold.wait_until_verified(WITHIN_S)["agree"]
