"""Measures the time from the acceptance of an event to the arrival of the webhook, at a given load."""

import asyncio
import base64
import json
import secrets
import tempfile
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.bench.load import bodies, calls
from tests.bench.whole import post
from tests.support.polling import eventually
from tests.support.shipped_command import Onefold

DEFINITIONS = """
apiVersion: onefold/v1
kind: Segment
metadata: {{name: bench-entered}}
spec: {{where: {{did: {{event: Bench Trigger}}}}}}
---
apiVersion: onefold/v1
kind: Destination
metadata: {{name: bench}}
spec:
  type: webhook
  url: http://127.0.0.1:{port}/
  secret_file: {secret}
  allow_private_addresses: true
  triggers: [{{segment: bench-entered, on: [entered]}}]
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from sending the event's batch to the webhook's arrival."""

    rate: float
    count: int
    p50_ms: float
    p99_ms: float


def latency(onefold: Onefold, rate: float, seconds: float = 20.0) -> Latency:
    """Measure the time until an event triggers a webhook call.

    One event in 50 is the first trigger of a new customer, which must reach the webhook.
    """
    arrived: dict[str, float] = {}

    class LatencyReceiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            arrived.setdefault(body["data"]["event_id"], time.perf_counter())
            self.send_response(204)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        request_queue_size = 256  # the default of 5 makes clients connect again after a second
        daemon_threads = True

    server = Server(("127.0.0.1", 0), LatencyReceiver)
    Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as directory:
        secret = Path(directory, "secret")
        secret.write_text("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
        text = DEFINITIONS.format(port=server.server_address[1], secret=secret)
        Path(directory, "bench.yaml").write_text(text)
        onefold.run("apply", directory)
        warm: list[dict[str, Any]] = [
            {"type": "track", "event": "Bench Trigger", "userId": f"warm-{rate}", "messageId": f"warm-{rate}"}
        ]
        onefold.send(warm)
        eventually(lambda: dict(arrived), lambda seen: f"warm-{rate}" in seen)
        sent = asyncio.run(_load(onefold, rate, seconds))
        eventually(lambda: len(arrived), lambda count: count >= len(sent) + 1)
    server.shutdown()
    waits = sorted((arrived[key] - at) * 1000 for key, at in sent.items())
    return Latency(rate, len(waits), waits[len(waits) // 2], waits[int(len(waits) * 0.99)])


async def _load(onefold: Onefold, rate: float, seconds: float) -> dict[str, float]:
    status = onefold.status()
    address = status["addresses"]["collector"]
    address = address if address.startswith("http") else f"http://{address}"
    prefix = f"l{int(time.monotonic())}"
    made = calls(int(rate * seconds), 99, prefix)
    for n in range(0, len(made), 50):
        made[n] = {"type": "track", "event": "Bench Trigger", "messageId": f"{prefix}-{n}", "userId": f"{prefix}-t{n}"}
    started = time.perf_counter()
    await post(address, status["write_keys"]["server"], bodies(made), connections=4, rate=rate / 50)
    return {f"{prefix}-{n}": started + (n / 50) / (rate / 50) for n in range(0, len(made), 50)}
