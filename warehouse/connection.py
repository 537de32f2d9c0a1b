"""How every client reaches ClickHouse: the driver's arguments and the credentials, made from the settings."""

from typing import Any
from urllib.parse import unquote, urlsplit

from runtime.errors import Misconfigured
from runtime.settings import Settings
from runtime.tls import TlsFiles


def client_arguments(settings: Settings) -> dict[str, Any]:
    """Return the driver's arguments for address, user, password and certificates.

    Raises Misconfigured for an address of another protocol, and for a file that cannot be used.
    """
    url = settings.clickhouse_url.get_secret_value()
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise Misconfigured("ONEFOLD_CLICKHOUSE_URL is not an http:// or https:// address")
    user, password = credentials(settings)
    arguments: dict[str, Any] = {"dsn": url, "interface": scheme, "username": user, "password": password}
    files = TlsFiles.of(settings, "clickhouse")
    if scheme == "https" and files.ca_file is not None:
        files.context()  # a fault of the file is told before the driver reads it
        arguments["ca_cert"] = str(files.ca_file)
    return arguments


def credentials(settings: Settings) -> tuple[str | None, str]:
    """Return user and password: those of the settings of their own, else those in the address. Without a user it is (None, …)."""
    url = urlsplit(settings.clickhouse_url.get_secret_value())
    password = settings.clickhouse_password
    if settings.clickhouse_user is not None or password is not None:
        return settings.clickhouse_user, "" if password is None else password.get_secret_value()
    return (unquote(url.username) if url.username else None), unquote(url.password or "")
