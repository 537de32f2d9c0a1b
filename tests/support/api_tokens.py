"""Tokens of the API for tests, and a gate that knows them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from api.access import TokenGate
from runtime.api_tokens import ALL_SCOPES, ApiToken, token_hash
from runtime.clock import Clock, ManualClock
from runtime.metrics import Metrics

TOKEN: Final = "onefold_a-token-of-some-length"
BEARER: Final = {"Authorization": f"Bearer {TOKEN}"}
"""The header of a client who may do everything."""
TOKEN_NAME: Final = "quầy-hàng"
"""The name by which this client's decisions are signed: the file allows other letters, so that the tests see what is passed on."""
CREATED_AT: Final = datetime(2025, 6, 15, tzinfo=UTC)


def api_token(token: str = TOKEN, *scopes: Any, name: str = TOKEN_NAME, expires_at: datetime | None = None) -> ApiToken:
    """Return a stored token with these scopes, by default all."""
    return ApiToken(name, token_hash(token), scopes or (ALL_SCOPES,), CREATED_AT, expires_at)


def gate_for(*tokens: ApiToken, clock: Clock | None = None, metrics: Metrics | None = None) -> TokenGate:
    """Return a gate for these tokens, by default for the client with BEARER."""
    known: Sequence[ApiToken] = tokens or (api_token(),)
    return TokenGate(lambda: known, clock or ManualClock(), metrics or Metrics())
