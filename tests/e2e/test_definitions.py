"""Definitions on the shipped command: applied over history, silent at first, live from then on; removed and restored."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.polling import eventually
from tests.support.shipped_command import Onefold, running_onefold

pytestmark = [pytest.mark.stack, pytest.mark.e2e, pytest.mark.timeout(900)]

SEGMENT = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: khach-quen}
spec: {where: {did: {event: Đặt hàng, at_least: 2}}}
"""
HOOK = """
apiVersion: onefold/v1
kind: Destination
metadata: {name: hook}
spec: {type: webhook, url: "URL", secret_file: "FILE", triggers: [{segment: khach-quen}], allow_private_addresses: true}
"""
TURNS = "SELECT op, cause, event_id FROM transitions WHERE segment = 'khach-quen' ORDER BY seq, profile_id"


@pytest.fixture
def hook() -> Iterator[tuple[str, list[str]]]:
    """Serve a webhook receiver on loopback. Yield its address and the event that each message is about."""
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    server.server_close()


def order(who: str, number: int) -> dict[str, Any]:
    return {"type": "track", "event": "Đặt hàng", "userId": who, "messageId": f"{who}-{number}", "properties": {"total": 100}}


def turns(onefold: Onefold, count: int) -> list[list[str]]:
    return eventually(lambda: onefold.rows(TURNS), lambda rows: len(rows) >= count)


def test_a_segment_applied_over_history_is_silent_then_live_and_comes_back(tmp_path: Path, hook: tuple[str, list[str]]) -> None:
    url, got = hook
    secret, folder = tmp_path / "secret", tmp_path / "definitions"
    secret.write_text(f"whsec_{base64.b64encode(b'a secret of thirty-two bytes, so').decode()}\n", encoding="ascii")
    folder.mkdir()
    (folder / "segment.yaml").write_text(SEGMENT, encoding="utf-8")
    (folder / "hook.yaml").write_text(HOOK.replace("URL", url).replace("FILE", str(secret)), encoding="utf-8")
    with running_onefold(tmp_path / "data") as onefold:
        onefold.send([order(f"u{who}", number) for who in range(10) for number in range(who % 3)])
        onefold.wait_until_settled(9)
        asked = ("plan", str(folder))
        planned = eventually(lambda: onefold.json(*asked), lambda found: found["segments"][0]["now"] == 3)
        (size,) = planned["segments"]
        assert size["before"] == 0
        assert size["entering"] == 3
        assert size["leaving"] == 0
        assert len(size["sample"]) == 3
        preview = onefold.json("segments", "preview", str(folder / "segment.yaml"))
        assert preview[0]["members"] == 3
        assert preview[0]["sample"] == size["sample"]

        applied = onefold.json("apply", str(folder))
        assert applied["segments"]["khach-quen"] == {"before": 0, "now": 3, "entered": 3, "left": 0}
        assert applied["waited_s"] < 30
        assert turns(onefold, 3) == [["entered", "backfill", ""]] * 3
        onefold.send([order("u1", 7)])
        assert turns(onefold, 4)[3:] == [["entered", "event", "u1-7"]]
        eventually(lambda: got, lambda messages: len(messages) == 1)

        refused = onefold.run("remove", "Segment/khach-quen", check=False)
        assert refused.returncode == 1
        assert "Destination/hook" in refused.stderr
        onefold.run("remove", "Destination/hook")
        assert onefold.json("remove", "Segment/khach-quen")["profiles"] == 6
        assert turns(onefold, 8)[4:] == [["exited", "definition", ""]] * 4
        onefold.send([order("u4", 7)])
        eventually(lambda: onefold.rows("SELECT count() FROM events"), lambda rows: rows == [["11"]])

        again = onefold.json("apply", str(folder))
        assert again["segments"]["khach-quen"]["now"] == 5
        assert turns(onefold, 13)[8:] == [["entered", "backfill", ""]] * 5
        assert onefold.json("segments", "verify")["agrees"]
        assert len(got) == 1
