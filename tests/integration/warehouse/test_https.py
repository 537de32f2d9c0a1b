"""ClickHouse over HTTPS: the engine behind TLS, with certificates of an authority that the settings name."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from runtime.errors import Misconfigured
from runtime.settings import Settings
from tests.support.certificates import Authority
from tests.support.tls_proxy import tls_proxy
from warehouse.client import Warehouse

pytestmark = pytest.mark.clickhouse


async def answer(settings: Settings) -> list[tuple[object, ...]]:
    """Return the user who asks, by ClickHouse's own word."""
    warehouse = await Warehouse.connect(settings, use_database=False)
    try:
        return await warehouse.query("SELECT currentUser(), {name:String}", {"name": "Nguyễn"})
    finally:
        await warehouse.aclose()


async def test_https_with_the_authority_of_the_settings(clickhouse_url: str, tmp_path: Path) -> None:
    authority, url = Authority(tmp_path), urlsplit(clickhouse_url)
    assert url.port is not None
    async with tls_proxy(url.port, authority.issue("server")) as port:
        settings = Settings(
            clickhouse_url=SecretStr(f"https://127.0.0.1:{port}"),
            clickhouse_user=url.username,
            clickhouse_password=SecretStr(url.password or ""),
            clickhouse_ca_file=authority.ca_file,
        )
        assert [row[1] for row in await answer(settings)] == ["Nguyễn"]
        for changes, words in (
            ({"clickhouse_ca_file": None}, "not signed by an authority in ONEFOLD_CLICKHOUSE_CA_FILE"),
            (
                {"clickhouse_ca_file": Authority(tmp_path, "stranger").ca_file},
                "not signed by an authority in ONEFOLD_CLICKHOUSE_CA_FILE",
            ),
            ({"clickhouse_url": SecretStr(f"https://localhost:{port}")}, "is not for the host in ONEFOLD_CLICKHOUSE_URL"),
            (
                {"clickhouse_url": SecretStr(f"https://127.0.0.1:{url.port}")},
                "ONEFOLD_CLICKHOUSE_URL does not speak TLS on this port",
            ),
            ({"clickhouse_password": SecretStr("another password")}, "check ONEFOLD_CLICKHOUSE_URL, …_USER and …_PASSWORD"),
        ):
            with pytest.raises(Misconfigured) as caught:
                await answer(settings.model_copy(update=changes))
            assert words in str(caught.value)
            assert "another password" not in str(caught.value)


async def test_an_expired_certificate_is_named(clickhouse_url: str, tmp_path: Path) -> None:
    authority, url = Authority(tmp_path), urlsplit(clickhouse_url)
    assert url.port is not None
    async with tls_proxy(url.port, authority.issue("old", expired=True)) as port:
        settings = Settings(clickhouse_url=SecretStr(f"https://127.0.0.1:{port}"), clickhouse_ca_file=authority.ca_file)
        with pytest.raises(Misconfigured, match="the certificate of the server at ONEFOLD_CLICKHOUSE_URL has expired"):
            await answer(settings)
