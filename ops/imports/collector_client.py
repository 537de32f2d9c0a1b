"""Sends batches of calls to the collector, and says whenever it waits."""

import gzip
import socket
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from runtime.errors import Misconfigured, Permanent, Transient
from runtime.retry import Backoff
from schemas.reasons import Reason

RETRY_FOR_S: Final = 300.0
_RETRYABLE: Final = frozenset({408, 429, 500, 502, 503, 504})
_BASE_MS: Final = 200
_MAX_MS: Final = 10_000
_MIN_MS: Final = 50
"""The shortest wait between two attempts. Full jitter may draw 0, and the command would then send again at once."""
_MAX_RETRY_AFTER_S: Final = 60.0


OnWait = Callable[[str, float], None]
"""Called before each wait, with why the client waits and for how many seconds."""


def wait_silently(_reason: str, _wait_s: float) -> None:
    """Say nothing of a wait."""


def require_http_url(url: str) -> str:
    """Return the address of a collector. Raises Misconfigured when it is none."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or any(letter.isspace() for letter in url):
        raise Misconfigured("--url is no address of a collector: it reads like http://127.0.0.1:8080 or https://collect.example.vn")
    return url


class CollectorClient:
    """Sends with a write key. `retry_for_s` bounds how long one batch is tried."""

    def __init__(
        self,
        http: httpx.Client,
        write_key: str,
        sleep: Callable[[float], None] = time.sleep,
        on_wait: OnWait = wait_silently,
    ) -> None:
        self._http = http
        self._auth = (write_key, "")
        self._sleep = sleep
        self.on_wait = on_wait
        self.retry_for_s = RETRY_FOR_S

    def send(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send calls; return the results of those that went into quarantine, by `index`.

        Raises Misconfigured for a wrong key or address and for the key of a public source, Transient when it has not accepted them
        within `retry_for_s`, Permanent when it refuses them.
        """
        response = self._post({"batch": calls})
        if response.status_code == 413 and len(calls) > 1:
            half = len(calls) // 2
            first, second = self.send(calls[:half]), self.send(calls[half:])
            return first + [{**result, "index": result["index"] + half} for result in second]
        if response.status_code == 200:
            return _results(response)
        if _code(response) == Reason.UNTRUSTED_SOURCE:
            raise Misconfigured("the source of this write key is public and may not import: use a trusted one, such as `server`")
        if response.status_code in (401, 403, 404) or response.is_redirect:
            raise Misconfigured(f"the collector answers {response.status_code} {_code(response)}: check --url and --write-key")
        raise Permanent(f"the collector refuses the batch with {response.status_code} {_code(response)}")

    def _post(self, body: dict[str, Any]) -> httpx.Response:
        content = gzip.compress(orjson.dumps(body), compresslevel=1)
        waited_s, last_failure = 0.0, "it cannot be reached"
        backoff = Backoff(_BASE_MS, _MAX_MS)
        while waited_s <= self.retry_for_s:
            retry_after_s = 0.0
            try:
                response = self._http.post("/v1/import", content=content, auth=self._auth, headers={"Content-Encoding": "gzip"})
            except httpx.UnsupportedProtocol:
                raise Misconfigured("--url is no address of a collector: it begins with http:// or https://") from None
            except httpx.TransportError as error:
                if _is_unknown_host(error):
                    raise Misconfigured("the host of the collector has no address: check --url") from None
                last_failure = f"it cannot be reached ({type(error).__name__})"
            else:
                if response.status_code not in _RETRYABLE:
                    return response
                last_failure = f"it answers {response.status_code} {_code(response)}"
                retry_after_s = _retry_after_s(response)
            wait_s = retry_after_s or max(backoff.next_ms(), _MIN_MS) / 1000
            self.on_wait(last_failure, wait_s)
            self._sleep(wait_s)
            waited_s += wait_s
        raise Transient(
            f"the collector has not accepted a batch for {self.retry_for_s:.0f} s: {last_failure}. Run the same import again later"
        )


def _results(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the results of a batch. Raises Misconfigured when the answer is not that of a collector."""
    try:
        body = response.json()
    except ValueError:
        body = None
    results = body.get("results", []) if isinstance(body, dict) and body.get("success") is True else None
    if not isinstance(results, list):
        raise Misconfigured("what answers is no collector: check --url")
    return [result for result in results if isinstance(result, dict)]


def _is_unknown_host(error: BaseException | None) -> bool:
    """Return whether an error arose because a host's name does not exist. A resolver that is away for a moment is another error."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_NONAME
        error = error.__cause__ or error.__context__
    return False


def _retry_after_s(response: httpx.Response) -> float:
    header = response.headers.get("retry-after", "")
    return min(float(header), _MAX_RETRY_AFTER_S) if header.isascii() and header.isdigit() else 0.0


def _code(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return ""
    return str(body.get("code", "")) if isinstance(body, dict) else ""
