"""Batches of calls to the collector, sent again for as long as it asks for that."""

import gzip
import random
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import orjson

from runtime.errors import Misconfigured, Permanent, Transient
from runtime.retry import backoff_ms

PATIENCE_S: Final = 300.0
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_BASE_MS, _MAX_MS = 200, 10_000
_LONGEST_WAIT_S: Final = 60.0


class Client:
    """Sends with a write key. `patience_s` bounds how long one batch is tried."""

    def __init__(self, http: httpx.Client, write_key: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._http, self._auth, self._sleep = http, (write_key, ""), sleep
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self.patience_s = PATIENCE_S

    def send(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Keep the calls; the results of those that went into quarantine, by `index`.

        Raises Misconfigured for a wrong key or address, Transient when the collector could not keep them in time, Permanent when it
        refuses them.
        """
        answer = self._answer({"batch": calls})
        if answer.status_code == 413 and len(calls) > 1:
            half = len(calls) // 2
            first, second = self.send(calls[:half]), self.send(calls[half:])
            return first + [{**result, "index": result["index"] + half} for result in second]
        if answer.status_code == 200:
            results = answer.json().get("results", [])
            return [result for result in results if isinstance(result, dict)]
        if answer.status_code in (401, 403, 404):
            raise Misconfigured(f"the collector answers {answer.status_code} {_code(answer)}: check --url and --write-key")
        raise Permanent(f"the collector refuses the batch with {answer.status_code} {_code(answer)}")

    def _answer(self, body: dict[str, Any]) -> httpx.Response:
        content = gzip.compress(orjson.dumps(body), compresslevel=1)
        waited_s, attempt, last = 0.0, 0, "it cannot be reached"
        while waited_s <= self.patience_s:
            asked_s = 0.0
            try:
                answer = self._http.post("/v1/batch", content=content, auth=self._auth, headers={"Content-Encoding": "gzip"})
            except httpx.TransportError as error:
                last = f"it cannot be reached ({type(error).__name__})"
            else:
                if answer.status_code not in _AGAIN:
                    return answer
                last = f"it answers {answer.status_code} {_code(answer)}"
                asked_s = _retry_after_s(answer)
            wait_s = asked_s or max(backoff_ms(attempt, _BASE_MS, _MAX_MS, self._rng), 50) / 1000
            self._sleep(wait_s)
            waited_s += wait_s
            attempt += 1
        raise Transient(f"the collector has not kept a batch for {self.patience_s:.0f} s: {last}. Run the same import again later")


def _retry_after_s(answer: httpx.Response) -> float:
    said = answer.headers.get("retry-after", "")
    return min(float(said), _LONGEST_WAIT_S) if said.isascii() and said.isdigit() else 0.0


def _code(answer: httpx.Response) -> str:
    try:
        found = answer.json()
    except ValueError:
        return ""
    return str(found.get("code", "")) if isinstance(found, dict) else ""
