"""The demo shop on an origin of its own, and a customer in headless Chromium."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.clients.install import directory
from tests.support.client_story import CLIENTS
from tests.support.collector_harness import KEY
from tests.support.recording_proxy import RecordingProxy

_CONTENT_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_PAGES = {"/": "index.html", "/san-pham": "san-pham.html", "/gio-hang": "gio-hang.html", "/dang-nhap": "dang-nhap.html"}


def node_env() -> dict[str, str]:
    """Return environment variables that tell scripts in Node where their packages are."""
    return {**os.environ, "ONEFOLD_CLIENTS_DIR": str(directory())}


def bundle(target: Path, source: str) -> Path:
    """Bundle a script of the shop with the SDK that it imports into `target` and return `target`."""
    subprocess.run(["node", str(CLIENTS / "bundle.mjs"), str(target), source], env=node_env(), check=True, timeout=60)
    return target


@contextmanager
def shop(proxy: RecordingProxy, user: str, loader: Path, options: dict[str, Any]) -> Iterator[str]:
    """Serve the shop and yield its address.

    `loader` is the script that loads analytics.js, `options` are what it is loaded with, and `user` is the customer who logs in.
    """
    config = {"url": proxy.url, "key": KEY, "user": user, "options": options}
    pages = {"/config.js": (".js", f"window.config = {json.dumps(config)};".encode()), "/loader.js": (".js", loader.read_bytes())}
    for path, name in (*_PAGES.items(), ("/shop.js", "shop.js"), ("/shop.css", "shop.css")):
        pages[path] = (Path(name).suffix, (CLIENTS / "shop" / name).read_bytes())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, content = pages.get(self.path, (".html", b""))
            self.send_response_only(200 if self.path in pages else 404)
            self.send_header("Content-Type", _CONTENT_TYPES[kind])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Write no log lines, because nobody reads them."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def customer(instructions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Let a customer do everything in the shop and yield the result; the browser stays open until the block ends."""
    argv = ["node", str(CLIENTS / "browser.mjs")]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=node_env()
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            child.stdin.write(json.dumps(instructions) + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
            assert line, child.stderr.read()
            yield json.loads(line)
            child.stdin.write("go\n")
            child.stdin.flush()
            child.wait(30)
        finally:
            if child.poll() is None:
                child.terminate()
