"""Sessions: an engine connection that stays, with its settings and temporary tables, until it idles too long."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from embedded.clickhouse.engine import Engine, EngineConnection
from embedded.clickhouse.protocol import QueryRefused, QueryRequest

_SWEEP_EVERY_S = 1.0
# A client may have read an answer before the request that gave it has let go of the session.
_LOCK_WAIT_S = 0.5


@dataclass(slots=True)
class EngineSession:
    """`changed_settings`: the settings that the last request brought, to be set back by the next."""

    connection: EngineConnection | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    expires_at_s: float = 0.0
    changed_settings: tuple[str, ...] = ()


class Sessions:
    """The sessions of all users; one user never sees another's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[tuple[str, str], EngineSession] = {}

    @contextlib.asynccontextmanager
    async def acquire(self, request: QueryRequest, user: str, most: int) -> AsyncIterator[EngineSession | None]:
        """Lock the session that the request names, for this request alone; give None when it names none. A user has at most `most`.

        Raises:
            QueryRefused: 372 when it must exist and does not, 373 when another request holds it, 374, 202 when there are too many.
        """
        name = request.values.get("session_id")
        if not name:
            yield None
            return
        seconds = request.session_s
        key = (user, name)
        session = self._find(key, most, must_exist=request.flag("session_check"))
        try:
            await asyncio.wait_for(session.lock.acquire(), _LOCK_WAIT_S)
        except TimeoutError as error:
            raise QueryRefused(373, f"Session {name[:64]!a} is locked by a concurrent client", "SESSION_IS_LOCKED") from error
        try:
            yield session
        finally:
            session.expires_at_s = time.monotonic() + seconds
            session.lock.release()
            if request.flag("close_session"):
                await self._close_session(key)

    def _find(self, key: tuple[str, str], most: int, *, must_exist: bool) -> EngineSession:
        session = self._sessions.get(key)
        if session is None:
            if must_exist:
                raise QueryRefused(372, f"Session {key[1][:64]!a} not found", "SESSION_NOT_FOUND")
            if sum(user == key[0] for user, _ in self._sessions) >= most:
                text = f"Too many sessions for user {key[0]}: at most {most}. Use session_id again, or leave it out"
                raise QueryRefused(202, text, "TOO_MANY_SIMULTANEOUS_QUERIES")
            session = self._sessions[key] = EngineSession(expires_at_s=time.monotonic() + _LOCK_WAIT_S)
        return session

    async def sweep(self) -> None:
        """Close idle sessions, for ever."""
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            now_s = time.monotonic()
            for key in [
                key for key, session in self._sessions.items() if session.expires_at_s < now_s and not session.lock.locked()
            ]:
                await self._close_session(key)

    async def close(self) -> None:
        """Close every session."""
        for key in list(self._sessions):
            await self._close_session(key)

    async def _close_session(self, key: tuple[str, str]) -> None:
        session = self._sessions.pop(key, None)
        if session is not None and session.connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._engine.pool(key[0]), session.connection.close)
