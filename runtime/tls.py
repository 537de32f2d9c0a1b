"""TLS towards Kafka, Redis and ClickHouse: the context of a connection, and what to correct when one is refused.

The settings of a service share its name: `ONEFOLD_KAFKA_CA_FILE` and so on. Errors name them, and quote nothing of a certificate.
"""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from runtime.errors import Misconfigured
from runtime.settings import Settings

Service = Literal["kafka", "redis", "clickhouse"]

_ADDRESSES: Final = {"kafka": "ONEFOLD_KAFKA_BOOTSTRAP", "redis": "ONEFOLD_REDIS_URL", "clickhouse": "ONEFOLD_CLICKHOUSE_URL"}
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNTRUSTED: Final = frozenset({2, 18, 19, 20, 21})
_WRONG_HOST: Final = frozenset({62, 64})
"""OpenSSL's codes of a certificate that does not hold: its time, who signed it, and whom it names."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The PEM files with which a service is reached; None of a CA means the authorities that this machine trusts."""

    service: Service
    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None

    @classmethod
    def of(cls, settings: Settings, service: Service) -> "TlsFiles":
        """Return the files that the settings name for a service."""
        names = ("ca_file", "certificate_file", "key_file")
        return cls(service, *(getattr(settings, f"{service}_{name}", None) for name in names))

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies the server and its host name. Raises Misconfigured for a file that cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(
                f"{self._name('CA_FILE')} cannot be used ({_kind(error)}): name a file of certificates in PEM format"
            ) from error
        if self.certificate_file is not None:
            self._load_own_certificate(context, self.certificate_file)
        return context

    def _load_own_certificate(self, context: ssl.SSLContext, certificate_file: Path) -> None:
        certificate, key = self._name("CERTIFICATE_FILE"), self._name("KEY_FILE")
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate_file, self.key_file, password=_refuse_encrypted_key)
        except _EncryptedKeyError as error:
            raise Misconfigured(
                f"the key in {key} is encrypted: name a file with the key as it is, readable by this user alone"
            ) from error
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(
                f"{certificate} and {key} cannot be used ({_kind(error)}): name a certificate and its key in PEM format"
            ) from error

    def _name(self, setting: str) -> str:
        return f"ONEFOLD_{self.service.upper()}_{setting}"


class _EncryptedKeyError(Exception):
    """A key file asks for a password."""


def _refuse_encrypted_key() -> str:
    raise _EncryptedKeyError


def _kind(error: OSError) -> str:
    return (isinstance(error, ssl.SSLError) and error.reason) or error.strerror or type(error).__name__


async def find_refusal(host: str, port: int, context: ssl.SSLContext, service: Service, timeout_s: float = 2.0) -> str | None:
    """Return what an operator must correct when the server cuts a connection right after its handshake; None when it does not.

    A server tells only then that it refuses our certificate. A driver that has written meanwhile gets a reset in place of the
    alert, so nothing is written here.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                await reader.read(1)
            finally:
                writer.close()
    except OSError as error:  # the time that is up is one too: a server that waits for us has refused nothing
        return explain_refusal(error, service)
    return None


def explain_refusal(error: BaseException, service: Service) -> str | None:
    """Return what an operator must correct when `error` or one of its causes is a refusal by TLS; None when none is."""
    for cause in causes(error):
        # By attributes, because aiohttp's errors are errors of TLS too, but only the ones that they came from say what it was.
        if isinstance(cause, ssl.SSLCertVerificationError) and (code := getattr(cause, "verify_code", 0)):
            return _explain_certificate(code, service)
        if isinstance(cause, ssl.SSLError) and (explanation := _explain_alert(getattr(cause, "reason", None) or "", service)):
            return explanation
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, the latest first."""
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        yield current
        seen.add(id(current))
        current = current.__cause__ or current.__context__


def _explain_certificate(verify_code: int, service: Service) -> str:
    prefix, address = f"ONEFOLD_{service.upper()}", _ADDRESSES[service]
    if verify_code == _EXPIRED:
        return f"the certificate of the server at {address} has expired: renew it there"
    if verify_code == _NOT_YET_VALID:
        return f"the certificate of the server at {address} is not valid yet: correct it there, or this machine's clock"
    if verify_code in _UNTRUSTED:
        return (
            f"the certificate of the server at {address} is not signed by an authority in {prefix}_CA_FILE (unset: one that this "
            "machine trusts): name the file of the authority that signed it"
        )
    if verify_code in _WRONG_HOST:
        return f"the certificate of the server is not for the host in {address}: use a name that it has"
    return f"the certificate of the server at {address} is refused (OpenSSL's code {verify_code}): check it and {prefix}_CA_FILE"


def _explain_alert(reason: str, service: Service) -> str | None:
    if reason in ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"):
        return f"the server at {_ADDRESSES[service]} does not speak TLS on this port: correct the port or the protocol"
    if "_ALERT_" in reason and any(word in reason for word in ("CERT", "UNKNOWN_CA", "HANDSHAKE_FAILURE")):
        prefix = f"ONEFOLD_{service.upper()}"
        return f"the server refuses the certificate in {prefix}_CERTIFICATE_FILE, or asks for one: correct it and {prefix}_KEY_FILE"
    return None
