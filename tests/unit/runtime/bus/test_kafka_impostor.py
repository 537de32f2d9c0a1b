"""A program that takes the broker's port while the broker is down: it learns nothing of the password, and is not believed."""

import asyncio
import base64
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from runtime.bus.kafka import KafkaBus
from runtime.errors import Misconfigured
from runtime.settings import Settings

PASSWORD = "the-password-of-the-stack"
SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36


@dataclass
class Impostor:
    """Speaks Kafka's protocol as far as the login, with any proof welcome, and keeps all that it receives."""

    last_word: str
    port: int = 0
    received: bytes = b""
    logins: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(size)
                self.received += request
                api_key, _, correlation_id = struct.unpack_from(">hhi", request)
                answer = struct.pack(">i", correlation_id) + self.answer(api_key, request)
                writer.write(struct.pack(">i", len(answer)) + answer)
        except asyncio.IncompleteReadError:
            writer.close()

    def answer(self, api_key: int, request: bytes) -> bytes:
        if api_key == API_VERSIONS:
            versions = (struct.pack(">hhh", key, 0, 1 if key == SASL_HANDSHAKE else 0) for key in (17, 18, 36))
            return struct.pack(">hi", 0, 3) + b"".join(versions)
        if api_key == SASL_HANDSHAKE:
            return struct.pack(">hih", 0, 1, len("SCRAM-SHA-256")) + b"SCRAM-SHA-256"
        assert api_key == SASL_AUTHENTICATE
        login = self.answer_login(request).encode()
        return struct.pack(">hhi", 0, -1, len(login)) + login

    def answer_login(self, request: bytes) -> str:
        if first := re.search(rb"n=onefold,r=(\S+)$", request):
            return f"r={first[1].decode()}more,s={base64.b64encode(b'salt').decode()},i=4096"
        self.logins.append("accepted")
        return self.last_word


@asynccontextmanager
async def impostor_running(last_word: str) -> AsyncIterator[Impostor]:
    impostor = Impostor(last_word)
    server = await asyncio.start_server(impostor.serve, "127.0.0.1", 0)
    impostor.port = server.sockets[0].getsockname()[1]
    try:
        yield impostor
    finally:
        server.close()


@pytest.mark.parametrize("last_word", [f"v={base64.b64encode(b'no signature of the broker').decode()}", "x=y", "welcome"])
async def test_a_server_that_cannot_prove_the_password_is_refused_and_learns_nothing(last_word: str) -> None:
    async with impostor_running(last_word) as impostor:
        settings = Settings(
            kafka_bootstrap=f"127.0.0.1:{impostor.port}",
            kafka_security_protocol="SASL_PLAINTEXT",
            kafka_sasl_mechanism="SCRAM-SHA-256",
            kafka_user="onefold",
            kafka_password=SecretStr(PASSWORD),
        )
        async with KafkaBus(settings, timeout_ms=8_000) as bus:
            with pytest.raises(Misconfigured, match="could not prove that it knows ONEFOLD_KAFKA_PASSWORD"):
                await bus.ping()
            with pytest.raises(Misconfigured, match="could not prove that it knows ONEFOLD_KAFKA_PASSWORD"):
                await bus.producer()
        assert impostor.logins
        assert PASSWORD.encode() not in impostor.received
