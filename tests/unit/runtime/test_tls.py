"""Files of certificates that cannot be used are errors that name their setting."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from runtime.errors import Misconfigured
from runtime.tls import TlsFiles
from tests.support.certificates import Authority


def test_a_context_trusts_the_named_authority_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = TlsFiles("kafka", authority.ca_file, None, None).context()
    assert [entry["subject"] for entry in context.get_ca_certs()] == [((("commonName", "authority of a test"),),)]
    assert context.check_hostname


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_an_authority_that_cannot_be_read_is_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        Misconfigured, match=r"^ONEFOLD_REDIS_CA_FILE cannot be used \(.+\): name a file of certificates in PEM format$"
    ):
        TlsFiles("redis", path, None, None).context()


def test_the_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("one").certificate_file, authority.issue("two").key_file
    with pytest.raises(
        Misconfigured, match=r"^ONEFOLD_KAFKA_CERTIFICATE_FILE and ONEFOLD_KAFKA_KEY_FILE cannot be used \(KEY_VALUES_MISMATCH\)"
    ):
        TlsFiles("kafka", authority.ca_file, certificate, key).context()


def test_an_encrypted_key_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    encrypted = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"hush")
    )
    (tmp_path / "encrypted.key").write_bytes(encrypted)
    with pytest.raises(Misconfigured, match="ONEFOLD_KAFKA_KEY_FILE is encrypted"):
        TlsFiles("kafka", authority.ca_file, authority.issue("one").certificate_file, tmp_path / "encrypted.key").context()
