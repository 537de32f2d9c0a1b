"""How every client reaches Redis: redis-py's arguments, made from the settings beside those in the address."""

from collections.abc import Iterable
from typing import Any

from runtime.settings import Settings
from runtime.tls import TlsFiles, find_refusal


def connection_options(settings: Settings) -> dict[str, Any]:
    """Return redis-py's arguments for user, password and certificates. Raises Misconfigured for files that cannot be used."""
    options: dict[str, Any] = {}
    if settings.redis_user is not None:
        options["username"] = settings.redis_user
    if settings.redis_password is not None:
        options["password"] = settings.redis_password.get_secret_value()
    if uses_tls(settings):
        files = TlsFiles.of(settings, "redis")
        files.context()  # the driver reads the files at its first connection, and takes a fault of them for one of the network
        paths = {"ssl_ca_certs": files.ca_file, "ssl_certfile": files.certificate_file, "ssl_keyfile": files.key_file}
        options |= {name: str(path) for name, path in paths.items() if path is not None}
    return options


def uses_tls(settings: Settings) -> bool:
    """Return whether the address asks for TLS."""
    return settings.redis_url.get_secret_value().startswith("rediss")


async def find_tls_refusal(settings: Settings, hosts: Iterable[tuple[str, int]]) -> str | None:
    """Return why these servers cut our connections, if it is by TLS."""
    if uses_tls(settings):
        context = TlsFiles.of(settings, "redis").context()
        for host, port in hosts:
            if refusal := await find_refusal(host, port, context, "redis"):
                return refusal
    return None
