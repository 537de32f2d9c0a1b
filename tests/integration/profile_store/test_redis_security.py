"""Redis with TLS and passwords: what fits gets in, and what does not gets an error that names the setting."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from profile_store.connect import open_store
from runtime.clock import SystemClock
from runtime.errors import Misconfigured, OnefoldError
from runtime.settings import Settings
from tests.support.certificates import Authority, Certificate
from tests.support.services import REDIS_PASSWORD
from tests.support.tls_proxy import tls_proxy
from tests.support.tls_redis import PASSWORD as TLS_PASSWORD
from tests.support.tls_redis import tls_redis_running

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Certificate:
    return authority.issue("client")


@pytest.fixture
async def settings(redis_server: str, authority: Authority, client: Certificate) -> AsyncIterator[Settings]:
    """Yield settings that fit a Redis behind TLS which asks for a client's certificate."""
    port = urlsplit(redis_server).port
    assert port is not None
    async with tls_proxy(port, authority.issue("server"), authority.ca_file) as tls_port:
        yield Settings(
            redis_url=SecretStr(f"rediss://127.0.0.1:{tls_port}/0"),
            redis_password=SecretStr(REDIS_PASSWORD),
            redis_ca_file=authority.ca_file,
            redis_certificate_file=client.certificate_file,
            redis_key_file=client.key_file,
        )


async def ping(settings: Settings) -> None:
    store = open_store(settings, SystemClock())
    try:
        await store.ping()
    finally:
        await store.aclose()


async def test_tls_with_both_certificates(settings: Settings) -> None:
    await ping(settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redis_ca_file": None}, "not signed by an authority in ONEFOLD_REDIS_CA_FILE"),
        ({"redis_password": SecretStr("another password")}, "ONEFOLD_REDIS_USER and ONEFOLD_REDIS_PASSWORD"),
        ({"redis_user": "nobody"}, "ONEFOLD_REDIS_USER and ONEFOLD_REDIS_PASSWORD"),
        ({"redis_password": None}, "ONEFOLD_REDIS_USER and ONEFOLD_REDIS_PASSWORD"),
    ],
)
async def test_what_does_not_fit_is_an_error_that_names_the_setting(
    settings: Settings, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(Misconfigured) as caught:
        await ping(settings.model_copy(update=changes))
    assert words in str(caught.value)
    assert "another password" not in str(caught.value)


async def test_another_host_name_and_another_authority_are_refused(settings: Settings, tmp_path: Path) -> None:
    url = settings.redis_url.get_secret_value()
    for changes, words in (
        ({"redis_url": SecretStr(url.replace("127.0.0.1", "localhost"))}, "is not for the host in ONEFOLD_REDIS_URL"),
        ({"redis_ca_file": Authority(tmp_path).ca_file}, "not signed by an authority in ONEFOLD_REDIS_CA_FILE"),
    ):
        with pytest.raises(Misconfigured, match=words):
            await ping(settings.model_copy(update=changes))


async def test_an_expired_certificate_is_named(redis_server: str, authority: Authority) -> None:
    port = urlsplit(redis_server).port
    assert port is not None
    async with tls_proxy(port, authority.issue("old", expired=True)) as tls_port:
        url = SecretStr(f"rediss://:{REDIS_PASSWORD}@127.0.0.1:{tls_port}/0")
        with pytest.raises(OnefoldError, match="the certificate of the server at ONEFOLD_REDIS_URL has expired"):
            await ping(Settings(redis_url=url, redis_ca_file=authority.ca_file))


async def test_a_real_server_with_tls_asks_for_both_certificates(authority: Authority, client: Certificate, tmp_path: Path) -> None:
    with tls_redis_running(tmp_path, authority, authority.issue("real")) as port:
        settings = Settings(
            redis_url=SecretStr(f"rediss://127.0.0.1:{port}/0"),
            redis_password=SecretStr(TLS_PASSWORD),
            redis_ca_file=authority.ca_file,
            redis_certificate_file=client.bundle_file,
        )
        await ping(settings)
        other = Authority(tmp_path, "other").issue("other client")
        for changes, words in (
            ({"redis_certificate_file": None}, "refuses the certificate in ONEFOLD_REDIS_CERTIFICATE_FILE, or asks for one"),
            ({"redis_certificate_file": other.bundle_file}, "refuses the certificate in ONEFOLD_REDIS_CERTIFICATE_FILE"),
            ({"redis_password": SecretStr("another password")}, "ONEFOLD_REDIS_USER and ONEFOLD_REDIS_PASSWORD"),
        ):
            with pytest.raises(Misconfigured, match=words):
                await ping(settings.model_copy(update=changes))


async def test_a_real_cluster_with_tls(authority: Authority, client: Certificate, tmp_path: Path) -> None:
    with tls_redis_running(tmp_path, authority, authority.issue("primary"), is_cluster=True) as port:
        settings = Settings(
            redis_url=SecretStr(f"rediss+cluster://127.0.0.1:{port}"),
            redis_password=SecretStr(TLS_PASSWORD),
            redis_ca_file=authority.ca_file,
            redis_certificate_file=client.certificate_file,
            redis_key_file=client.key_file,
        )
        await ping(settings)
        for changes, words in (
            ({"redis_ca_file": Authority(tmp_path).ca_file}, "not signed by an authority in ONEFOLD_REDIS_CA_FILE"),
            ({"redis_password": SecretStr("another password")}, "ONEFOLD_REDIS_USER and ONEFOLD_REDIS_PASSWORD"),
        ):
            with pytest.raises(Misconfigured, match=words):
                await ping(settings.model_copy(update=changes))
