"""Opening a port and serving an ASGI application on it, within the limits that all ports share."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

import uvicorn
from starlette.types import ASGIApp

from runtime.errors import Misconfigured
from runtime.http.limits import ANSWER_HEADERS, HttpLimits, RenderRefusal, render_error
from runtime.http.protocol import CountClosed, bounded_protocol
from runtime.logs import get_logger
from runtime.metrics import Metrics

BACKLOG: Final = 2048
OTHER_FILES: Final = 256
"""How many files a process may need beside the connections of a port: its libraries, its logs, its connections to stores."""

log: Final = get_logger(__name__)


class QuietServer(uvicorn.Server):
    """uvicorn without its own signal handling: the process decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(
    app: ASGIApp,
    limits: HttpLimits,
    *,
    grace_s: int,
    count_closed: CountClosed = lambda _: None,
    render_refusal: RenderRefusal = render_error,
    lifespan: Literal["on", "off"] = "off",
    takes_pipelined: bool = True,
) -> QuietServer:
    """Return a server of `app` within `limits`. On shutdown, requests in progress have `grace_s` to be answered.

    An application that ends its work when its client leaves takes no pipelined requests: behind one, the leaving cannot be seen.
    """
    limits = replace(limits, max_connections=allow_connections(limits.max_connections))
    return QuietServer(
        uvicorn.Config(
            app,
            http=bounded_protocol(limits, render_refusal, count_closed, takes_pipelined=takes_pipelined),
            ws="none",
            lifespan=lifespan,
            log_config=None,
            log_level="error",  # a warning for each malformed request would let anybody fill the log
            access_log=False,
            server_header=False,
            headers=list(ANSWER_HEADERS),
            proxy_headers=False,  # a setting decides which proxies to trust
            timeout_graceful_shutdown=grace_s,
            backlog=BACKLOG,
        )
    )


def closed_counter(metrics: Metrics, port: str) -> CountClosed:
    """Return a function that counts the connections of `port` which a limit has closed, by the reason."""
    return lambda reason: metrics.count("onefold_http_connections_closed_total", port=port, reason=reason)


def allow_connections(max_connections: int) -> int:
    """Let this process open as many files as the connections need, and return how many connections it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max_connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < needed:
            fitting = max(allowed - OTHER_FILES, allowed // 2)
            log.warning("connections_limited_by_open_files", open_files=allowed, connections=fitting)
            return fitting
    return max_connections


def open_listener(host: str, port: int, *, name: str, setting: str) -> socket.socket:
    """Return a listening socket. Raises Misconfigured, which names the port by `name` and the settings by their common `setting`.

    `setting` is the beginning of the two variables, such as ONEFOLD_API for ONEFOLD_API_HOST and ONEFOLD_API_PORT.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Bound here: uvicorn would end the whole process over a taken port.
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured(
            f"{name} cannot listen: is {setting}_PORT taken? Is {setting}_HOST an address of this machine?"
        ) from error
