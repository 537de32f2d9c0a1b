"""A proxy between a client and the collector: it records the requests, and answers 503 when a test demands it."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request as it arrived. Header names are in lower case; `status` is what the client received."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    status: int

    @property
    def body(self) -> Any:
        """Return the decoded JSON of the body, decompressed if needed."""
        return json.loads(gzip.decompress(self.raw) if self.raw.startswith(b"\x1f\x8b") else self.raw)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Return the calls in the request."""
        return list(self.body["batch"]) if "batch" in self.body else [self.body]


@dataclass
class RecordingProxy:
    """A proxy whose counters `refuse` and `mishear` decrease with every POST of events."""

    port: int
    requests: list[RecordedRequest] = field(default_factory=list)
    refuse: int = 0
    """How many requests the proxy answers with 503 without forwarding them."""
    mishear: int = 0
    """How many requests the proxy forwards but answers with 503, as if the collector's answer were lost."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def posts(self) -> list[RecordedRequest]:
        """Return the requests that used POST."""
        return [request for request in self.requests if request.method == "POST"]

    def sent(self, status: int = 200) -> list[tuple[RecordedRequest, dict[str, Any]]]:
        """Return every call that was answered with `status`, with its request."""
        return [(request, call) for request in self.posts if request.status == status for call in request.calls]

    def next_fault(self) -> str:
        with self.lock:
            for fault in ("refuse", "mishear"):
                if remaining := getattr(self, fault):
                    setattr(self, fault, remaining - 1)
                    return fault
        return ""


@contextmanager
def recording_proxy(collector_port: int) -> Iterator[RecordingProxy]:
    """Start a proxy in front of the collector on this port and yield it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _relay(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            fault = proxy.next_fault() if self.command == "POST" else ""
            status, headers, content = _overloaded(self.headers.get("origin"))
            if fault != "refuse":
                answer = _forward(collector_port, self.command, self.path, raw, list(self.headers.items()))
                if fault != "mishear":
                    status, headers, content = answer
            request_headers = {name.lower(): value for name, value in self.headers.items()}
            proxy.requests.append(RecordedRequest(self.command, self.path, request_headers, raw, status))
            self.send_response_only(status)
            for name, value in (*headers, ("Content-Length", str(len(content)))):
                self.send_header(name, value)
            with suppress(ConnectionError):  # a page that has gone away does not listen
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = do_OPTIONS = _relay  # noqa: N815 - as http.server wants them

        def log_message(self, *_: Any) -> None:
            """Write no log lines, because tests read `requests` instead."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        proxy = RecordingProxy(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


ProxyAnswer = tuple[int, list[tuple[str, str]], bytes]


def _overloaded(origin: str | None) -> ProxyAnswer:
    """Return the collector's answer when it is overloaded."""
    headers = [("Content-Type", "application/json"), ("Retry-After", "1")]
    if origin is not None:
        headers += [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "Retry-After")]
    return 503, headers, b'{"success": false, "code": "overloaded", "message": "Send it again."}'


def _forward(port: int, method: str, path: str, raw: bytes, headers: list[tuple[str, str]]) -> ProxyAnswer:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            if name.lower() not in _HOP:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(raw)))
        connection.endheaders(raw)
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP], content
    finally:
        connection.close()
