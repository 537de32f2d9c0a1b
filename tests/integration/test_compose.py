"""The stores of docker-compose.yml, as real servers that are started with what the file says and with secrets of its own."""

import asyncio
import hashlib
import re
import stat
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import redis.asyncio as aioredis
import yaml
from redis.exceptions import NoPermissionError

from embedded.child_process import ChildSpec
from embedded.redis import server_binary
from profile_store.connect import open_store
from profile_store.port import GuardedDocument, TopicPartition, Writes
from runtime.api_tokens import find_token, read_tokens
from runtime.bus.kafka import KafkaBus
from runtime.bus.kafka_connection import client_options, is_serving
from runtime.bus.port import Outgoing
from runtime.clock import SystemClock
from runtime.errors import OnefoldError
from runtime.settings import Settings
from tests.support.ports import free_port
from tests.support.services import broker_in, running_service

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def make_secrets(directory: Path) -> None:
    subprocess.run([ROOT / "deploy/make-secrets", directory], check=True, timeout=60)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the secrets."""
    directory = tmp_path_factory.mktemp("compose") / "secrets"
    make_secrets(directory)
    return directory


def test_every_secret_of_compose_is_made_and_closed_to_other_users(secrets: Path) -> None:
    files = {Path(entry["file"].partition("}/")[2]).name for entry in COMPOSE["secrets"].values()}
    assert files <= {path.name for path in secrets.iterdir()}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    values = [path.read_text() for path in secrets.iterdir() if path.suffix == ""]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"(onefold_[0-9a-f]{16})?[0-9a-f]{48}", value) for value in values)


def test_the_first_token_of_the_api_is_in_its_file_of_tokens(secrets: Path) -> None:
    (token,) = read_tokens(secrets / "api-tokens.json")
    assert find_token((token,), (secrets / "api_token").read_text()) is token
    assert token.scopes == ("all",)


def test_secrets_that_are_there_stay(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    (tmp_path / "redis_password").unlink()
    make_secrets(tmp_path)
    after = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"redis_password", "redis_users.acl"}


def kafka_settings(port: int, user: str | None, password: str | None) -> Settings:
    return Settings.model_validate({
        "kafka_bootstrap": f"127.0.0.1:{port}",
        "kafka_security_protocol": "SASL_PLAINTEXT" if user else "PLAINTEXT",
        "kafka_sasl_mechanism": "PLAIN",
        "kafka_user": user,
        "kafka_password": password,
    })  # fmt: skip


@pytest.fixture(scope="module")
def kafka_port(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start Kafka with the environment of its service, on other ports, and yield the one for clients."""
    broker = broker_in(tmp_path_factory.mktemp("kafka"))
    environment = COMPOSE["services"]["kafka"]["environment"]
    moved = {"KAFKA_OPTS", "KAFKA_LOG_DIRS", "KAFKA_NODE_ID", "KAFKA_CONTROLLER_QUORUM_VOTERS"}
    properties = {  # as the image does it
        name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in environment.items() if name not in moved
    }
    own = f"127.0.0.1:{broker.port}"
    addresses = {"//:9092": f"//{own}", "kafka:9092": own, ":9093": f":{broker.controller_port}"}
    with broker.properties_file.open("a") as lines:
        for name, value in properties.items():
            for ours, theirs in addresses.items():
                value = value.replace(ours, theirs)
            lines.write(f"{name}={value}\n")
    login = environment["KAFKA_OPTS"].replace("/run/secrets", str(secrets))
    options = client_options(kafka_settings(broker.port, "admin", (secrets / "kafka_admin_password").read_text()))
    spec = ChildSpec(
        "kafka",
        broker.argv(login),
        lambda: asyncio.run(is_serving(options, timeout_s=2)),
        broker.layout.logs / "kafka.out.log",
        broker.env(),
        (broker.layout.logs / "kafka.log",),
    )
    with running_service(spec):
        yield broker.port


@pytest.mark.kafka
@pytest.mark.parametrize("user", ["prepare", "collector", "streams", "consumers", "activation", "api"])
async def test_each_role_has_a_login_of_its_own_to_kafka(secrets: Path, kafka_port: int, user: str) -> None:
    settings = kafka_settings(kafka_port, user, (secrets / f"kafka_{user}_password").read_text())
    async with KafkaBus(settings) as bus:
        await bus.create_topics({f"topic-of-{user}": (1, {})})
        producer = await bus.producer()
        assert await producer.send([Outgoing(f"topic-of-{user}", b"Lan")]) == [(0, 0)]
        await producer.aclose()


@pytest.mark.kafka
@pytest.mark.parametrize(("user", "password"), [("collector", "guessed"), ("stranger", "guessed"), (None, None)])
async def test_nobody_else_gets_into_kafka(kafka_port: int, user: str | None, password: str | None) -> None:
    async with KafkaBus(kafka_settings(kafka_port, user, password), timeout_ms=8_000) as bus:
        with pytest.raises(OnefoldError, match="ONEFOLD_KAFKA_"):
            await bus.ping()


@pytest.fixture(scope="module")
def redis_port(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start Redis with the command of its service, and yield its port."""
    directory, port = tmp_path_factory.mktemp("redis"), free_port()
    _, *arguments = COMPOSE["services"]["redis"]["command"]
    arguments = [re.sub(r"\$\{.*:-(.*)\}", r"\1", text).replace("/run/secrets", str(secrets)) for text in arguments]
    argv = [str(server_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), *arguments]

    async def answers() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
        return answer.startswith(b"-NOAUTH")

    def is_ready() -> bool:
        try:
            return asyncio.run(answers())
        except OSError:
            return False

    with running_service(ChildSpec("redis", argv, is_ready, directory / "redis.log")):
        yield port


@pytest.mark.redis
async def test_the_user_of_redis_may_do_what_the_store_needs_and_no_more(secrets: Path, redis_port: int) -> None:
    settings = Settings.model_validate({
        "redis_url": f"redis://127.0.0.1:{redis_port}/0",
        "redis_user": "onefold",
        "redis_password": (secrets / "redis_password").read_text(),
    })  # fmt: skip
    store, partition = open_store(settings, SystemClock()), TopicPartition("events", 0, 1)
    fragment = GuardedDocument("Nguyễn Thị Lan".encode(), partition.guard_name, 1)
    try:
        await store.ping()
        assert (await store.fence_writers(partition)).position is None
        await store.save(partition, None, 2, Writes(documents={("fragment", "a"): fragment}, timers={"p": 50}), fence=None)
        assert (await store.load(partition, "fragment", ["a"]))[1] == {"a": fragment}
        assert await store.due_timers(partition, 50, 10) == [("p", 50)]
        assert await store.claim_run("nightly", 1_000)
        await store.settle_delivery("delivery", 1_000)
        assert [document_id async for document_id, _ in store.scan("fragment")] == ["a"]
        await store.pause_writers(True)
        await store.wipe(["fragment"])
    finally:
        await store.aclose()
    rights = (secrets / "redis_users.acl").read_text().rpartition("~onefold:* ")[2].strip()
    assert f" ~onefold:* {rights}\n" in (ROOT / "docs/operating.md").read_text()
    client = aioredis.Redis(port=redis_port, username="onefold", password=(secrets / "redis_password").read_text())
    async with client:
        for command in ("CONFIG GET dir", "FLUSHALL", "ACL LIST", "KEYS *", "SHUTDOWN"):
            with pytest.raises(NoPermissionError):
                await client.execute_command(*command.split())  # type: ignore[no-untyped-call]  # redis-py has no type for it


def test_clickhouse_knows_hashes_of_both_users_alone(secrets: Path) -> None:
    text = (secrets / "clickhouse_users.xml").read_text()
    users = ET.fromstring(text).find("users")  # noqa: S314 - the text is our own
    assert users is not None
    assert {user.tag for user in users if user.get("remove") is None} == {"onefold", "analyst"}
    for user, name in (("onefold", "clickhouse_password"), ("analyst", "clickhouse_analyst_password")):
        password = (secrets / name).read_text()
        assert users.findtext(f"{user}/password_sha256_hex") == hashlib.sha256(password.encode()).hexdigest()
        assert password not in text
    assert [query.text for query in users.findall("analyst/grants/query")] == ["GRANT SELECT, dictGet, SHOW ON onefold.*"]
