"""Deliveries on the shipped command: a receiver that refuses at first, a kill meanwhile, and what the operator sees of it."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from domain.definitions.kinds import key_hash
from tests.support.polling import eventually
from tests.support.shipped_command import Onefold, running_onefold
from tests.support.webhook_receiver import SECRET

pytestmark = [pytest.mark.stack, pytest.mark.e2e]

DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {name: buyers}
spec: {where: {did: {event: Đặt hàng}}}
---
apiVersion: onefold/v1
kind: Destination
metadata: {name: crm}
spec:
  type: webhook
  url: %s
  secret_file: crm.secret
  allow_private_addresses: true
  identifiers: [user_id]
  triggers: [{segment: buyers}]
  retry: {max_ms: 500}
"""
SOURCE = "apiVersion: onefold/v1\nkind: Source\nmetadata: {name: default}\nspec: {%s}\n"


class RefusingReceiver:
    """A receiver that answers `status` and keeps the verified messages that it answered so."""

    def __init__(self) -> None:
        self.status = 404
        self.messages: list[tuple[int, str, dict[str, Any]]] = []

    def taken(self) -> set[str]:
        """Return the user ids of the customers whose message was taken."""
        return {body["data"]["identifiers"]["user_id"][0] for status, _, body in self.messages if status == 204}


@contextlib.contextmanager
def refusing_receiver() -> Iterator[tuple[RefusingReceiver, str]]:
    receiver = RefusingReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            Webhook(SECRET).verify(raw, {name.lower(): value for name, value in self.headers.items()})
            status = receiver.status
            receiver.messages.append((status, self.headers["webhook-id"], json.loads(raw)))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver, f"http://127.0.0.1:{server.server_address[1]}/hook"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def onefold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Onefold]:
    with running_onefold(tmp_path_factory.mktemp("deliveries")) as running:
        yield running


def states(onefold: Onefold) -> list[str]:
    return sorted(entry["state"] for entry in onefold.json("deliveries", "list"))


def test_messages_outlive_a_refusing_receiver_and_a_kill_and_can_be_sent_again(onefold: Onefold, tmp_path: Path) -> None:
    customers = {f"KH-{number}" for number in range(3)}
    with refusing_receiver() as (receiver, url):
        (tmp_path / "crm.yaml").write_text(DEFINITIONS % url, encoding="utf-8")
        onefold.run("apply", str(tmp_path / "crm.yaml"))
        eventually(lambda: onefold.status()["waits"], lambda waits: any("crm.secret" in sentence for sentence in waits))
        (onefold.data_dir / "crm.secret").write_text(SECRET)
        onefold.send([{"type": "track", "event": "Đặt hàng", "userId": user, "messageId": user} for user in sorted(customers)])
        eventually(lambda: states(onefold), lambda seen: seen == ["waiting"] * 3)
        assert any("HTTP 404" in sentence for sentence in onefold.status()["waits"])

        os.kill(onefold.pid("activation"), signal.SIGKILL)
        receiver.status = 204
        eventually(receiver.taken, lambda taken: taken == customers)
        eventually(lambda: states(onefold), lambda seen: seen == ["delivered"] * 3)
        assert onefold.status()["waits"] == []

        key = onefold.json("deliveries", "list", "--limit", "1")[0]["key"]
        history = onefold.json("deliveries", "show", key)["history"]
        assert history[0]["status"] == 404
        assert history[-1]["state"] == "delivered"
        before = len(receiver.messages)
        assert "1 will be sent again" in onefold.run("deliveries", "resend", key).stdout
        eventually(lambda: len(receiver.messages), lambda count: count > before)
        (_, id_again, body_again) = receiver.messages[-1]
        assert id_again == key
        assert body_again in [body for _, message_id, body in receiver.messages[:before] if message_id == key]


def test_an_apply_that_locks_clients_out_needs_a_yes_and_the_status_shows_no_dead_key(onefold: Onefold, tmp_path: Path) -> None:
    source, keys = tmp_path / "source.yaml", onefold.status()["write_keys"]
    source.write_text(SOURCE % "record_ip: true")
    assert "1 write key would be removed, and none would be left" in onefold.json("plan", str(source))["warnings"][0]
    refused = onefold.run("apply", str(source), check=False)
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    assert onefold.status()["write_keys"] == keys
    onefold.run("apply", str(source), "--yes")
    state = eventually(onefold.status, lambda seen: "default" not in seen["write_keys"])
    assert any("write key" in sentence for sentence in state["waits"])
    source.write_text(SOURCE % f"topic_ingress: true, write_key_sha256: [{key_hash(keys['default'])}]")
    onefold.run("apply", str(source))
    eventually(onefold.status, lambda seen: seen["write_keys"] == keys)
