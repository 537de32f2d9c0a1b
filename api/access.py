"""Who may call the API: a request needs a token that is valid and has the scope of its route.

A refusal is counted and logged, without the token, and with the client's network instead of its address. A network that fails often
is answered 429 and no longer logged each time. A valid token is served all the same: with 256 random bits it cannot be found by
trying, and whoever shares a network with an attacker must not be locked out.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.api_tokens import ApiToken, Scope, find_token
from runtime.clock import Clock
from runtime.errors import Misconfigured
from runtime.http.connections import prove_connection
from runtime.logs import get_logger
from runtime.metrics import Metrics
from runtime.token_buckets import TokenBuckets

MAX_PATH_CHARS: Final = 4_096
FAILURES_PER_SECOND: Final = 1.0
FAILURES_AT_ONCE: Final = 10
LOG_UNREADABLE_EVERY_S: Final = 60
MAX_NETWORKS: Final = 4_096
"""How many networks' failures are counted at a time. Beyond it all are counted anew, so that memory stays bounded."""

Handler = Callable[[Request], Awaitable[Response]]

log: Final = get_logger(__name__)


class GuardedRoute(Route):
    """A route whose requests need a token with `token_scope`."""

    def __init__(self, path: str, endpoint: Handler, method: str, token_scope: Scope) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.token_scope = token_scope


class TokenGate:
    """Lets a request pass to its handler if it carries a token with the scope of the route.

    `tokens` returns the tokens that are in force now. Raises Misconfigured when it cannot: then every request is answered 503.
    """

    def __init__(self, tokens: Callable[[], Sequence[ApiToken]], clock: Clock, metrics: Metrics) -> None:
        self._tokens, self._clock, self._metrics = tokens, clock, metrics
        self._failures = TokenBuckets()

    def route(self, path: str, handler: Handler, scope: Scope, method: str = "GET") -> GuardedRoute:
        """Return a route whose requests need a token with `scope`."""

        async def guarded(request: Request) -> Response:
            if len(request.url.path) > MAX_PATH_CHARS or len(request.url.query) > 2 * MAX_PATH_CHARS:
                raise HTTPException(414, "the address is too long")
            token = self._find_token(request)
            request.state.token_name = token.name
            if not token.allows(scope):
                self._note_refusal(request, "scope", token.name)
                challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
                raise HTTPException(403, f"the token is not for this: it lacks the scope {scope}", {"WWW-Authenticate": challenge})
            self._metrics.count("onefold_api_requests_total", token=token.name)
            prove_connection(request.scope)
            return await handler(request)

        return GuardedRoute(path, guarded, method, scope)

    def _find_token(self, request: Request) -> ApiToken:
        """Return the token of a request. Raises HTTPException when it has none that is valid."""
        try:
            tokens = self._tokens()
        except Misconfigured as error:
            if not self._failures.consume("tokens", 1 / LOG_UNREADABLE_EVERY_S, 1, 1, self._clock.now_ms()):
                log.error("api_tokens_unreadable", reason=str(error))  # noqa: TRY400 - the operator's mistake, no bug
            raise HTTPException(503, "the API cannot read its tokens: see its log", {"Retry-After": "5"}) from error
        scheme, _, presented = request.headers.get("authorization", "").partition(" ")
        presented = presented.strip()
        if scheme.lower() != "bearer" or not presented:
            raise self._refusal(request, "missing", "send `Authorization: Bearer` with a token of the API")
        token = find_token(tokens, presented)
        if token is None:
            raise self._refusal(request, "unknown", "the token is wrong, or was revoked")
        if token.is_expired(self._clock.now_ms()):
            raise self._refusal(request, "expired", "the token has expired: make a new one with `onefold tokens add`", token.name)
        return token

    def _refusal(self, request: Request, reason: str, message: str, token_name: str = "") -> HTTPException:
        wait_ms = self._note_refusal(request, reason, token_name)
        if wait_ms:
            return HTTPException(429, "too many requests without a valid token: wait", {"Retry-After": str(-(-wait_ms // 1_000))})
        return HTTPException(401, message, {"WWW-Authenticate": "Bearer"})

    def _note_refusal(self, request: Request, reason: str, token_name: str) -> int:
        """Count and log a refusal; return 0, or how many ms to wait when there were too many from the same network."""
        self._metrics.count("onefold_api_refusals_total", reason=reason)
        if len(self._failures) >= MAX_NETWORKS:
            self._failures = TokenBuckets()
        network = network_of(request.client.host if request.client is not None else "")
        wait_ms = self._failures.consume(network, FAILURES_PER_SECOND, FAILURES_AT_ONCE, 1, self._clock.now_ms())
        if not wait_ms:
            log.warning("api_request_refused", reason=reason, network=network, token_name=token_name, method=request.method)
        return wait_ms


def caller_of(request: Request) -> str:
    """Return the name of the token that a request carries: who acts, for the audit."""
    name: str = request.state.token_name
    return name


def network_of(peer: str) -> str:
    """Return the network of an address, /24 or /48, since an address alone is personal data; "" for what is no address."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))
