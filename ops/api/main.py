"""The API process."""

import asyncio
import socket

import uvicorn

from ops.api.app import Api
from ops.api.view import ProfileReader
from profile_store.redis_store import RedisStore
from runtime.clock import SystemClock
from runtime.errors import Misconfigured
from runtime.health import HealthServer, QuietServer
from runtime.metrics import Metrics
from runtime.settings import Settings

GRACE_SECONDS = 5


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop`; answers under way are finished first. Raises Misconfigured when the port is taken."""
    store = RedisStore(settings, SystemClock())
    try:
        async with HealthServer(settings, Metrics(), {"redis": store.ping}):
            config = uvicorn.Config(
                Api(ProfileReader(settings, store)).application(),
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
            with _listening(settings) as listener:
                await _serve(QuietServer(config), listener, stop)
    finally:
        await store.aclose()


def _listening(settings: Settings) -> socket.socket:
    try:
        return socket.create_server((settings.api_host, settings.api_port))
    except OSError as error:
        raise Misconfigured(
            "the profile API cannot listen: is ONEFOLD_API_PORT taken, ONEFOLD_API_HOST of this machine?"
        ) from error


async def _serve(server: QuietServer, listener: socket.socket, stop: asyncio.Event) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving
